/* SPDX-License-Identifier: MIT */
#include <pthread.h>
#include <stdatomic.h>

#include <etcp/etcp.h>

#include "check.h"
#include "net/loop.h"

enum { THREADS = 4, LETTERS = 2000 };

struct box {
    struct loop *loop;
    unsigned got, want;
    int last;
};

static struct loop *make_loop(void)
{
    struct loop *loop = NULL;

    CHECK_INT(etcp_init(), 0);
    CHECK_INT(loop_new(&loop), 0);
    return loop;
}

static void count(void *arg)
{
    struct box *box = arg;

    if (++box->got == box->want) {
        loop_stop(box->loop);
    }
}

static void *post_many(void *arg)
{
    struct box *box = arg;

    for (unsigned i = 0; i < LETTERS; i++) {
        CHECK_INT(loop_post(box->loop, count, box), 0);
    }
    return NULL;
}

static void letters_of_all_threads_arrive(void)
{
    struct box box = {.loop = make_loop(), .want = THREADS * LETTERS};
    pthread_t threads[THREADS];

    for (unsigned i = 0; i < THREADS; i++) {
        CHECK_INT(pthread_create(&threads[i], NULL, post_many, &box), 0);
    }
    CHECK_INT(loop_run(box.loop), 0);
    CHECK_INT(box.got, THREADS * LETTERS);
    for (unsigned i = 0; i < THREADS; i++) {
        CHECK_INT(pthread_join(threads[i], NULL), 0);
    }
    loop_free(box.loop);
}

static void letters_keep_their_order(void)
{
    struct box box = {.loop = make_loop(), .want = 3};
    struct loop_letter first = {.fn = count, .arg = &box}, second = first, third = first;

    loop_post_letter(box.loop, &first);
    loop_post_letter(box.loop, &second);
    loop_post_letter(box.loop, &second); /* waits already: not posted twice */
    loop_post_letter(box.loop, &third);
    CHECK(first.next == &second && second.next == &third && third.next == NULL);
    CHECK_INT(loop_run(box.loop), 0);
    CHECK_INT(box.got, 3);
    CHECK(!first.posted && !second.posted && !third.posted);
    loop_free(box.loop);
}

static void a_letter_taken_back_is_not_read(void)
{
    struct box box = {.loop = make_loop(), .want = 2};
    struct loop_letter letters[3] = {
        {.fn = count, .arg = &box}, {.fn = count, .arg = &box}, {.fn = count, .arg = &box}};

    for (unsigned i = 0; i < 3; i++) {
        loop_post_letter(box.loop, &letters[i]);
    }
    CHECK(loop_unpost(box.loop, &letters[2])); /* the last: the end of the list moves */
    CHECK(!loop_unpost(box.loop, &letters[2]));
    loop_post_letter(box.loop, &letters[2]);
    CHECK(loop_unpost(box.loop, &letters[0]));
    CHECK_INT(loop_run(box.loop), 0);
    CHECK_INT(box.got, 2);
    loop_free(box.loop);
}

struct thief {
    struct box box;
    struct loop_letter victim;
};

static void steal(void *arg)
{
    struct thief *thief = arg;

    CHECK(loop_unpost(thief->box.loop, &thief->victim));
    count(&thief->box);
}

static void a_letter_can_take_back_the_one_behind_it(void)
{
    struct thief thief = {.box = {.loop = make_loop(), .want = 1}};
    struct loop_letter letter = {.fn = steal, .arg = &thief};

    thief.victim = (struct loop_letter){.fn = count, .arg = &thief.box};
    loop_post_letter(thief.box.loop, &letter);
    loop_post_letter(thief.box.loop, &thief.victim);
    CHECK_INT(loop_run(thief.box.loop), 0);
    CHECK_INT(thief.box.got, 1);
    loop_free(thief.box.loop);
}

static void unread_letters_are_freed_with_the_loop(void)
{
    struct box box = {.loop = make_loop(), .want = 1};
    struct loop_letter own = {.fn = count, .arg = &box};

    CHECK_INT(loop_post(box.loop, count, &box), 0);
    loop_post_letter(box.loop, &own);
    loop_free(box.loop);
    CHECK_INT(box.got, 0);
    loop_free(NULL);
}

static void the_clock_does_not_go_back(void)
{
    uint64_t before = loop_now_us();

    for (unsigned i = 0; i < 1000; i++) {
        uint64_t now = loop_now_us();

        CHECK(now >= before);
        before = now;
    }
}

static const struct check_case cases[] = {
    CHECK_CASE(letters_of_all_threads_arrive),          CHECK_CASE(letters_keep_their_order),
    CHECK_CASE(a_letter_taken_back_is_not_read),        CHECK_CASE(a_letter_can_take_back_the_one_behind_it),
    CHECK_CASE(unread_letters_are_freed_with_the_loop), CHECK_CASE(the_clock_does_not_go_back),
};

CHECK_MAIN(cases)
