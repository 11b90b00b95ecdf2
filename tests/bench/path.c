/* SPDX-License-Identifier: MIT
 *
 * A long path in two network namespaces of its own, for kernels without netem: two TUN devices, and packets that come in on one
 * go out on the other after a delay, if they are not lost. What it does to a packet it does to all alike, whatever is inside.
 *
 *   bench-path --delay US --loss FRACTION --rate BYTES --queue BYTES --mtu BYTES --control NAME --seed NUMBER
 *
 * Delay, loss, rate and queue are those of each direction; a rate of 0 is none, and then there is no queue either. Ends are
 * 10.77.0.1 and 10.77.0.2. Prints "ready FD FD" when the path is up: the namespaces, as descriptors of this process. Ends when
 * its standard input does, and then prints for each direction how many packets went, were lost, and met a full queue. */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <inttypes.h>
#include <poll.h>
#include <sched.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <arpa/inet.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>

enum { PACKET_BYTES = 2048, SLOTS = 1 << 15, AT_ONCE = 64, QUEUE_PACKETS = 20000 };

struct packet {
    uint64_t due_ns;
    size_t len;
    uint8_t data[PACKET_BYTES];
};

/* One direction: from `in` to `out`. */
struct direction {
    int in, out;
    struct packet *packets; /* SLOTS of them, those that are under way from `first` on */
    size_t first, count;
    uint64_t free_ns; /* when the wire has sent all that was given to it */
    uint64_t random;
    uint64_t passed, lost, dropped;
};

struct path {
    uint64_t delay_us, rate, queue, mtu, seed;
    double loss;
    const char *control;
    struct direction directions[2];
};

static uint64_t now_ns(void)
{
    struct timespec now;

    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

/* xorshift64*: a number in [0, 1). */
static double draw(uint64_t *state)
{
    *state ^= *state >> 12;
    *state ^= *state << 25;
    *state ^= *state >> 27;
    return (double)((*state * 2685821657736338717u) >> 11) / 9007199254740992.0;
}

static int complain(const char *what)
{
    int error = errno;

    (void)fprintf(stderr, "bench-path: %s: %s\n", what, strerror(error));
    return -error;
}

/* ---- Packets --------------------------------------------------------------------------------------------------------- */

/* When a packet that comes now has gone over the wire; false: the queue before it is full. */
static bool transmit(const struct path *path, struct direction *direction, size_t len, uint64_t now, uint64_t *ret_ns)
{
    uint64_t begin = direction->free_ns > now ? direction->free_ns : now;

    if (path->rate > 0) {
        if ((double)(begin - now) * (double)path->rate / 1e9 > (double)path->queue) {
            return false;
        }
        begin += (uint64_t)((double)len * 1e9 / (double)path->rate);
    }
    direction->free_ns = begin;
    *ret_ns = begin;
    return true;
}

/* Returns 0 or -errno; 0 as well when there is nothing more to read. */
static int take(const struct path *path, struct direction *direction)
{
    for (int i = 0; i < AT_ONCE; i++) {
        struct packet *packet = &direction->packets[(direction->first + direction->count) % SLOTS];
        uint64_t now, sent;
        ssize_t n;

        if (direction->count == SLOTS) {
            return 0; /* the device's queue is next */
        }
        n = read(direction->in, packet->data, PACKET_BYTES);
        if (n < 0) {
            return errno == EAGAIN || errno == EINTR ? 0 : complain("read");
        }
        now = now_ns();
        if (!transmit(path, direction, (size_t)n, now, &sent)) {
            direction->dropped++;
        } else if (draw(&direction->random) < path->loss) {
            direction->lost++;
        } else {
            packet->due_ns = sent + path->delay_us * 1000;
            packet->len = (size_t)n;
            direction->count++;
        }
    }
    return 0;
}

static int deliver(struct direction *direction)
{
    uint64_t now = now_ns();

    while (direction->count > 0 && direction->packets[direction->first].due_ns <= now) {
        const struct packet *packet = &direction->packets[direction->first];

        if (write(direction->out, packet->data, packet->len) < 0 && errno != EAGAIN && errno != ENOBUFS) {
            return complain("write");
        }
        direction->first = (direction->first + 1) % SLOTS;
        direction->count--;
        direction->passed++;
    }
    return 0;
}

static uint64_t next_due(const struct path *path)
{
    uint64_t due = UINT64_MAX;

    for (int i = 0; i < 2; i++) {
        const struct direction *direction = &path->directions[i];

        if (direction->count > 0 && direction->packets[direction->first].due_ns < due) {
            due = direction->packets[direction->first].due_ns;
        }
    }
    return due;
}

static int run(struct path *path)
{
    struct pollfd polls[3] = {{.fd = path->directions[0].in}, {.fd = path->directions[1].in}, {.fd = STDIN_FILENO}};
    int rc = 0;

    while (rc == 0 && polls[2].revents == 0) {
        uint64_t due = next_due(path), now = now_ns(), wait = due > now ? due - now : 0;
        struct timespec timeout = {.tv_sec = (time_t)(wait / 1000000000u), .tv_nsec = (long)(wait % 1000000000u)};

        for (int i = 0; i < 2; i++) {
            polls[i].events = path->directions[i].count < SLOTS ? POLLIN : 0;
        }
        polls[2].events = POLLIN;
        if (ppoll(polls, 3, due == UINT64_MAX ? NULL : &timeout, NULL) < 0 && errno != EINTR) {
            rc = complain("ppoll");
        }
        for (int i = 0; rc == 0 && i < 2; i++) {
            rc = deliver(&path->directions[i]);
            if (rc == 0 && (polls[i].revents & POLLIN) != 0) {
                rc = take(path, &path->directions[i]);
            }
        }
    }
    return rc;
}

/* ---- Namespaces and devices ------------------------------------------------------------------------------------------ */

static int set_flags(int control, struct ifreq *request)
{
    if (ioctl(control, SIOCGIFFLAGS, request) != 0) {
        return -errno;
    }
    request->ifr_flags = (short)(request->ifr_flags | IFF_UP | IFF_RUNNING);
    return ioctl(control, SIOCSIFFLAGS, request) == 0 ? 0 : -errno;
}

static int set_address(int control, struct ifreq *request, unsigned long operation, const char *text)
{
    struct sockaddr_in address = {.sin_family = AF_INET};

    (void)inet_pton(AF_INET, text, &address.sin_addr);
    memcpy(&request->ifr_addr, &address, sizeof address);
    return ioctl(control, operation, request) == 0 ? 0 : -errno;
}

static int bring_up(const struct path *path, int control, const char *own, const char *other)
{
    struct ifreq request = {.ifr_name = "lo"};
    int r = set_flags(control, &request);

    if (r != 0) {
        return r;
    }
    memset(&request, 0, sizeof request);
    memcpy(request.ifr_name, "path", sizeof "path");
    request.ifr_mtu = (int)path->mtu;
    if (ioctl(control, SIOCSIFMTU, &request) != 0) {
        return -errno;
    }
    request.ifr_qlen = QUEUE_PACKETS;
    if (ioctl(control, SIOCSIFTXQLEN, &request) != 0) {
        return -errno;
    }
    r = set_address(control, &request, SIOCSIFADDR, own);
    if (r == 0) {
        r = set_address(control, &request, SIOCSIFDSTADDR, other);
    }
    return r == 0 ? set_flags(control, &request) : r;
}

static int set_control(const char *name)
{
    FILE *file = fopen("/proc/sys/net/ipv4/tcp_congestion_control", "we");
    int r;

    if (file == NULL) {
        return -errno;
    }
    r = fputs(name, file) < 0 ? -EIO : 0;
    return fclose(file) == 0 ? r : -errno;
}

/* A namespace with one end of the path, for this thread until the next one. Returns 0, the namespace and the device, or -errno. */
static int make_end(const struct path *path, const char *own, const char *other, int *ret_namespace, int *ret_device)
{
    struct ifreq request = {.ifr_name = "path", .ifr_flags = IFF_TUN | IFF_NO_PI};
    int control = -1, r = 0;

    if (unshare(CLONE_NEWNET) != 0) {
        return complain("a network namespace");
    }
    *ret_namespace = open("/proc/thread-self/ns/net", O_RDONLY);
    *ret_device = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);
    if (*ret_namespace < 0 || *ret_device < 0 || ioctl(*ret_device, TUNSETIFF, &request) != 0) {
        return complain("/dev/net/tun");
    }
    control = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    r = control < 0 ? -errno : bring_up(path, control, own, other);
    if (r == 0 && path->control != NULL) {
        r = set_control(path->control);
    }
    if (control >= 0) {
        (void)close(control);
    }
    errno = -r;
    return r == 0 ? 0 : complain(path->control != NULL ? path->control : "the device");
}

static int start(struct path *path)
{
    int namespaces[2], devices[2];
    int r = make_end(path, "10.77.0.1", "10.77.0.2", &namespaces[0], &devices[0]);

    if (r == 0) {
        r = make_end(path, "10.77.0.2", "10.77.0.1", &namespaces[1], &devices[1]);
    }
    for (int i = 0; r == 0 && i < 2; i++) {
        path->directions[i] = (struct direction){
            .in = devices[i],
            .out = devices[1 - i],
            .random = (path->seed * 2 + (uint64_t)i + 1) * 0x9e3779b97f4a7c15u,
            .packets = calloc(SLOTS, sizeof(struct packet)),
        };
        r = path->directions[i].packets != NULL ? 0 : -ENOMEM;
    }
    if (r == 0) {
        printf("ready %d %d\n", namespaces[0], namespaces[1]);
        r = fflush(stdout) == 0 ? 0 : -EIO;
    }
    return r;
}

static int parse_options(struct path *path, int argc, char **argv)
{
    static const struct option known[] = {
        {"delay", required_argument, NULL, 'd'}, {"loss", required_argument, NULL, 'l'},
        {"rate", required_argument, NULL, 'r'},  {"queue", required_argument, NULL, 'q'},
        {"mtu", required_argument, NULL, 'm'},   {"control", required_argument, NULL, 'c'},
        {"seed", required_argument, NULL, 's'},  {NULL, 0, NULL, 0},
    };
    int c;

    *path = (struct path){.mtu = 1500, .queue = 1024 * 1024, .seed = 1};
    while ((c = getopt_long(argc, argv, "", known, NULL)) != -1) {
        uint64_t number = optarg != NULL ? strtoull(optarg, NULL, 10) : 0;

        switch (c) {
        case 'd':
            path->delay_us = number;
            break;
        case 'l':
            path->loss = strtod(optarg, NULL);
            break;
        case 'r':
            path->rate = number;
            break;
        case 'q':
            path->queue = number;
            break;
        case 'm':
            path->mtu = number;
            break;
        case 'c':
            path->control = optarg;
            break;
        case 's':
            path->seed = number;
            break;
        default:
            return -EINVAL;
        }
    }
    return optind == argc && path->mtu >= 576 && path->mtu <= PACKET_BYTES && path->loss >= 0 && path->loss <= 1
               ? 0
               : -EINVAL;
}

int main(int argc, char **argv)
{
    static struct path path;
    int rc = parse_options(&path, argc, argv);

    if (rc != 0) {
        (void)fprintf(stderr,
                      "usage: bench-path [--delay US] [--loss FRACTION] [--rate BYTES] [--queue BYTES] [--mtu BYTES] "
                      "[--control NAME] [--seed NUMBER]\n");
        return EXIT_FAILURE;
    }
    (void)prctl(PR_SET_TIMERSLACK, 1000);
    rc = start(&path);
    if (rc == 0) {
        rc = run(&path);
    }
    for (int i = 0; i < 2; i++) {
        const struct direction *direction = &path.directions[i];

        printf("%" PRIu64 " passed, %" PRIu64 " lost, %" PRIu64 " dropped\n", direction->passed, direction->lost,
               direction->dropped);
        free(path.directions[i].packets);
    }
    return rc == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
