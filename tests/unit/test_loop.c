/* SPDX-License-Identifier: MIT */
#include <pthread.h>
#include <stdatomic.h>

#include <etcp/etcp.h>
#include <event2/event.h>

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

struct writer {
    struct box box;
    struct loop_letter more;
};

static void write_more(void *arg)
{
    struct writer *writer = arg;

    loop_post_letter(writer->box.loop, &writer->more);
    count(&writer->box);
}

/* It comes behind one that waits, so nothing is rung for it. */
static void a_letter_written_by_a_letter_is_read_too(void)
{
    struct writer writer = {.box = {.loop = make_loop(), .want = 3}};
    struct loop_letter first = {.fn = write_more, .arg = &writer}, second = {.fn = count, .arg = &writer.box};

    writer.more = (struct loop_letter){.fn = count, .arg = &writer.box};
    loop_post_letter(writer.box.loop, &first);
    loop_post_letter(writer.box.loop, &second);
    CHECK_INT(loop_run(writer.box.loop), 0);
    CHECK_INT(writer.box.got, 3);
    loop_free(writer.box.loop);
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

/* A timer that comes again long after busy_poll, and what is done at each time. */
struct pulse {
    struct loop *loop;
    struct event *timer;
    unsigned beats;
    bool (*beat)(struct pulse *pulse); /* whether to go on */
    struct loop_letter letter;
    uint64_t mark;
};

static const struct timeval pause_30ms = {.tv_usec = 30000};

enum { BEATS = 10, BUSY_POLL_US = 1000 };

static void on_pulse(evutil_socket_t fd, short what, void *arg)
{
    struct pulse *pulse = arg;

    (void)fd;
    (void)what;
    pulse->beats++;
    if (pulse->beat(pulse)) {
        CHECK_INT(event_add(pulse->timer, &pause_30ms), 0);
    } else {
        loop_stop(pulse->loop);
    }
}

static void start_pulse(struct pulse *pulse, bool (*beat)(struct pulse *pulse))
{
    pulse->beat = beat;
    pulse->beats = 0;
    if (pulse->timer == NULL) {
        pulse->timer = evtimer_new(pulse->loop->base, on_pulse, pulse);
    }
    CHECK(pulse->timer != NULL);
    CHECK_INT(event_add(pulse->timer, &pause_30ms), 0);
}

static void end_pulse(struct pulse *pulse)
{
    event_free(pulse->timer);
    loop_free(pulse->loop);
}

static bool some_beats(struct pulse *pulse)
{
    return pulse->beats < BEATS;
}

static bool until_spins_are_left_out(struct pulse *pulse)
{
    return pulse->loop->unpaid_spins < LOOP_UNPAID_SPINS_MAX;
}

/* Posts itself until the loop spins: there is always something to do. */
static void on_work(void *arg)
{
    struct pulse *pulse = arg;

    if (pulse->loop->spins > pulse->mark) {
        loop_stop(pulse->loop);
    } else {
        loop_post_letter(pulse->loop, &pulse->letter);
    }
}

static void work(struct pulse *pulse)
{
    pulse->letter = (struct loop_letter){.fn = on_work, .arg = pulse};
    pulse->mark = pulse->loop->spins;
    loop_post_letter(pulse->loop, &pulse->letter);
    CHECK_INT(loop_run(pulse->loop), 0);
}

static void an_idle_loop_sleeps_at_once(void)
{
    struct pulse pulse = {.loop = make_loop()};

    loop_set_busy_poll(pulse.loop, BUSY_POLL_US);
    start_pulse(&pulse, some_beats);
    CHECK_INT(loop_run(pulse.loop), 0);
    CHECK_INT(pulse.loop->spins, 0);
    CHECK(pulse.loop->sleeps >= BEATS);
    end_pulse(&pulse);
}

static void without_busy_poll_nothing_is_counted(void)
{
    struct pulse pulse = {.loop = make_loop()};

    start_pulse(&pulse, some_beats);
    CHECK_INT(loop_run(pulse.loop), 0);
    CHECK_INT(pulse.loop->spins + pulse.loop->sleeps, 0);
    end_pulse(&pulse);
}

/* Posts itself over and over, while the loop spins. */
static void on_endless_work(void *arg)
{
    struct pulse *pulse = arg;

    if (++pulse->beats == 1000) {
        loop_stop(pulse->loop);
    } else {
        loop_post_letter(pulse->loop, &pulse->letter);
    }
}

/* Who computes beside it would have the processor for a slice each time. */
static void a_loop_with_work_does_not_yield(void)
{
    struct pulse pulse = {.letter = {.fn = on_endless_work, .arg = &pulse}};

    CHECK_INT(loop_new(&pulse.loop), 0);
    loop_set_busy_poll(pulse.loop, BUSY_POLL_US);
    pulse.loop->unpaid_spins = 0;
    loop_post_letter(pulse.loop, &pulse.letter);
    CHECK_INT(loop_run(pulse.loop), 0);
    CHECK_INT(pulse.beats, 1000);
    CHECK_INT(pulse.loop->spins, 1);
    CHECK_INT(pulse.loop->yields, 0);
    loop_free(pulse.loop);
}

static void spins_begin_when_they_would_have_paid_and_end_when_they_do_not(void)
{
    struct pulse pulse = {.loop = make_loop()};

    loop_set_busy_poll(pulse.loop, BUSY_POLL_US);
    for (unsigned round = 0; round < 3; round++) {
        work(&pulse);
        CHECK(pulse.loop->spins > pulse.mark);

        start_pulse(&pulse, until_spins_are_left_out);
        CHECK_INT(loop_run(pulse.loop), 0);
        pulse.mark = pulse.loop->spins;
        start_pulse(&pulse, some_beats);
        CHECK_INT(loop_run(pulse.loop), 0);
        CHECK_INT(pulse.loop->spins, pulse.mark); /* it is idle again */
    }
    end_pulse(&pulse);
}

static bool switch_over(struct pulse *pulse)
{
    loop_set_busy_poll(pulse->loop, pulse->beats % 2 == 0 ? BUSY_POLL_US : 0);
    return pulse->beats < BEATS;
}

static void busy_poll_can_be_changed_while_the_loop_runs(void)
{
    struct pulse pulse = {.loop = make_loop()};

    start_pulse(&pulse, switch_over);
    CHECK_INT(loop_run(pulse.loop), 0);
    CHECK_INT(pulse.beats, BEATS);
    CHECK_INT(pulse.loop->sleeps, BEATS / 2 - 1); /* one for every second beat; after the last one it stops */
    work(&pulse);
    CHECK(pulse.loop->spins > 0);
    end_pulse(&pulse);
}

static void letters_of_all_threads_arrive_while_it_spins(void)
{
    struct box box = {.loop = make_loop(), .want = THREADS * LETTERS};
    pthread_t threads[THREADS];

    loop_set_busy_poll(box.loop, BUSY_POLL_US);
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
    CHECK_CASE(letters_of_all_threads_arrive),
    CHECK_CASE(letters_keep_their_order),
    CHECK_CASE(a_letter_written_by_a_letter_is_read_too),
    CHECK_CASE(a_letter_taken_back_is_not_read),
    CHECK_CASE(a_letter_can_take_back_the_one_behind_it),
    CHECK_CASE(unread_letters_are_freed_with_the_loop),
    CHECK_CASE(the_clock_does_not_go_back),
    CHECK_CASE(an_idle_loop_sleeps_at_once),
    CHECK_CASE(without_busy_poll_nothing_is_counted),
    CHECK_CASE(a_loop_with_work_does_not_yield),
    CHECK_CASE(spins_begin_when_they_would_have_paid_and_end_when_they_do_not),
    CHECK_CASE(busy_poll_can_be_changed_while_the_loop_runs),
    CHECK_CASE(letters_of_all_threads_arrive_while_it_spins),
};

CHECK_MAIN(cases)
