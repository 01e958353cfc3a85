/* One load generator for every server that is measured: HTTP/1.1 or gRPC (HTTP/2), in a closed or in an open loop.

       serving_load PORT REQUESTS OUT CONNECTIONS SECONDS RATE http|grpc

   REQUESTS holds whole requests, asked in turn: a 32-bit count, then for each its 32-bit length and its bytes. RATE 0 is
   the closed loop: each connection asks again as soon as it is answered. Otherwise requests are due at fixed moments,
   RATE per second, and go out on whichever connection is free; where none is free they wait, and their latency counts
   from the moment they were due, so that a slow server does not slow down the questions it is asked.

   OUT gets a record per request; see `record`. One request is on its way per connection. Standard C, epoll and nothing
   else; built by serving_load.py. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

enum { BUFFER = 1 << 16, DRAIN_S = 10, UNANSWERED = -1, UNSENT = -2, RETRY_AFTER = 1, CLOSED = 2 };

struct record {
    double due_s;      /* since the first; in the closed loop the moment of sending */
    float latency_ms;  /* from when it was due to the whole answer */
    float service_ms;  /* from when it was sent */
    int32_t status;    /* of HTTP; of gRPC 200 for a message and 500 for none */
    int32_t flags;
};

struct connection {
    int fd, busy, next;
    double due, sent;
    size_t have, wanted;  /* bytes read; bytes of the whole answer, 0 until its head is there */
    int status, flags, chunked, message;
    uint32_t stream;
    const char *rest;  /* what of the request did not fit into the socket */
    size_t rest_size;
    char *copy;
    char buffer[BUFFER];
};

static struct connection *all;
static struct record *records;
static size_t count, room;
static int poll_fd, is_grpc;
static uint16_t port;
static char **requests;
static uint32_t *sizes, request_count, asked;
static double began;

static const char PREFACE[] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0\0\0\4\10\0\0\0\0\0\177\0\0\0";

static double now(void) {
    struct timespec at;
    clock_gettime(CLOCK_MONOTONIC, &at);
    return at.tv_sec + at.tv_nsec * 1e-9;
}

static void fail(const char *what) {
    perror(what);
    exit(1);
}

static void note(double due, double sent, double ended, int status, int flags) {
    if (count == room) {
        room = room ? 2 * room : 1 << 16;
        records = realloc(records, room * sizeof *records);
        if (!records) fail("memory");
    }
    records[count++] = (struct record){due - began, (ended - due) * 1e3, (ended - sent) * 1e3, status, flags};
}

static void watch(struct connection *each, int writes) {
    struct epoll_event event = {.events = EPOLLIN | (writes ? EPOLLOUT : 0), .data.ptr = each};
    if (epoll_ctl(poll_fd, EPOLL_CTL_MOD, each->fd, &event)) fail("epoll_ctl");
}

static void join(struct connection *each) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port)};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int one = 1;
    for (int attempt = 0;; attempt++) {
        each->fd = socket(AF_INET, SOCK_STREAM, 0);
        if (!connect(each->fd, (struct sockaddr *)&address, sizeof address)) break;
        close(each->fd);
        if (attempt == 200) fail("connect");
        usleep(5000);
    }
    setsockopt(each->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    if (is_grpc && write(each->fd, PREFACE, sizeof PREFACE - 1) < 0) fail("preface");
    fcntl(each->fd, F_SETFL, O_NONBLOCK);
    each->busy = each->flags = 0;
    each->stream = 1;
    each->have = each->wanted = each->rest_size = 0;
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = each};
    if (epoll_ctl(poll_fd, EPOLL_CTL_ADD, each->fd, &event)) fail("epoll_ctl");
}

static void push(struct connection *each) {
    while (each->rest_size) {
        ssize_t done = write(each->fd, each->rest, each->rest_size);
        if (done < 0) {
            if (errno == EAGAIN) watch(each, 1);
            return; /* another error is seen when reading */
        }
        each->rest += done;
        each->rest_size -= done;
    }
}

static void ask(struct connection *each, double due) {
    uint32_t which = asked++ % request_count;
    each->rest = requests[which];
    each->rest_size = sizes[which];
    if (is_grpc) { /* the same frames with this call's stream in each of them */
        each->copy = realloc(each->copy, sizes[which]);
        memcpy(each->copy, requests[which], sizes[which]);
        for (size_t at = 0; at + 9 <= sizes[which];) {
            uint8_t *frame = (uint8_t *)each->copy + at;
            uint32_t stream = htonl(each->stream);
            memcpy(frame + 5, &stream, 4);
            at += 9 + (frame[0] << 16 | frame[1] << 8 | frame[2]);
        }
        each->rest = each->copy;
        each->stream += 2;
    }
    each->busy = 1;
    each->message = each->status = each->flags = each->chunked = 0;
    each->wanted = 0;
    each->due = due;
    each->sent = now();
    push(each);
}

/* Both return whether an answer is whole. */

static int read_http(struct connection *each) {
    each->buffer[each->have] = 0;
    if (!each->wanted) {
        char *end = strstr(each->buffer, "\r\n\r\n");
        if (!end) return 0;
        each->status = each->have > 12 ? atoi(each->buffer + 9) : 0;
        size_t length = 0, head = end + 4 - each->buffer;
        for (char *line = strstr(each->buffer, "\r\n"); line && line < end; line = strstr(line + 2, "\r\n")) {
            if (!strncasecmp(line + 2, "content-length:", 15)) length = strtoul(line + 17, NULL, 10);
            if (!strncasecmp(line + 2, "retry-after:", 12)) each->flags |= RETRY_AFTER;
            if (!strncasecmp(line + 2, "connection: close", 17)) each->flags |= CLOSED;
            if (!strncasecmp(line + 2, "transfer-encoding: chunked", 26)) each->chunked = 1;
        }
        if (head + length >= BUFFER) fail("an answer of this size");
        each->wanted = head + length;
    }
    if (each->chunked) {
        if (each->have < 5 || memcmp(each->buffer + each->have - 5, "0\r\n\r\n", 5)) return 0;
    } else if (each->have < each->wanted) {
        return 0;
    }
    each->have = 0;
    return 1;
}

static int read_grpc(struct connection *each) {
    size_t at = 0;
    int whole = 0;
    while (each->have - at >= 9) {
        uint8_t *frame = (uint8_t *)each->buffer + at;
        size_t length = frame[0] << 16 | frame[1] << 8 | frame[2];
        if (each->have - at < 9 + length) break;
        uint8_t kind = frame[3], flags = frame[4];
        if (kind == 0 && length > 5) each->message = 1;
        if ((kind == 4 || kind == 6) && !(flags & 1)) { /* settings and pings are acknowledged */
            frame[4] |= 1;
            if (kind == 4) memset(frame, 0, 3);
            if (write(each->fd, frame, kind == 4 ? 9 : 9 + length) < 0 && errno != EAGAIN) each->flags |= CLOSED;
        }
        if (kind == 7) each->flags |= CLOSED;
        if (kind == 3 || (kind <= 1 && flags & 1)) {
            whole = 1;
            each->status = each->message ? 200 : 500;
        }
        at += 9 + length;
    }
    memmove(each->buffer, each->buffer + at, each->have - at);
    each->have -= at;
    return whole;
}

int main(int given, char **words) {
    if (given != 8) {
        fprintf(stderr, "serving_load PORT REQUESTS OUT CONNECTIONS SECONDS RATE http|grpc\n");
        return 2;
    }
    port = atoi(words[1]);
    int connections = atoi(words[4]);
    double seconds = atof(words[5]), rate = atof(words[6]);
    is_grpc = !strcmp(words[7], "grpc");
    signal(SIGPIPE, SIG_IGN);
    prctl(PR_SET_TIMERSLACK, 1);
    FILE *file = fopen(words[2], "rb");
    if (!file || fread(&request_count, 4, 1, file) != 1) fail(words[2]);
    requests = calloc(request_count, sizeof *requests);
    sizes = calloc(request_count, sizeof *sizes);
    for (uint32_t each = 0; each < request_count; each++) {
        if (fread(&sizes[each], 4, 1, file) != 1) fail(words[2]);
        requests[each] = malloc(sizes[each]);
        if (fread(requests[each], 1, sizes[each], file) != sizes[each]) fail(words[2]);
    }
    fclose(file);

    poll_fd = epoll_create1(0);
    int timer = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK);
    struct epoll_event ticks = {.events = EPOLLIN, .data.ptr = NULL};
    epoll_ctl(poll_fd, EPOLL_CTL_ADD, timer, &ticks);
    all = calloc(connections, sizeof *all);
    int *idle = malloc(connections * sizeof *idle), first = 0, idles = 0; /* a ring: the longest idle asks next */
    for (int each = 0; each < connections; each++) {
        join(&all[each]);
        idle[(first + idles++) % connections] = each;
    }
    began = now() + 0.02;
    double ends = began + seconds, gives_up = ends + DRAIN_S;
    uint64_t due = 0, total = rate ? (uint64_t)(rate * seconds) : 0;
    int busy = 0;
    struct epoll_event events[256];
    for (;;) {
        double at = now();
        if (rate) {
            while (due < total && idles && began + due / rate <= at) {
                struct connection *each = &all[idle[first]];
                first = (first + 1) % connections;
                idles--;
                busy++;
                ask(each, began + due++ / rate);
            }
            if (due < total && idles) {
                double next = began + due / rate;
                struct itimerspec alarm = {.it_value = {(time_t)next, (long)((next - (time_t)next) * 1e9) + 1}};
                timerfd_settime(timer, TFD_TIMER_ABSTIME, &alarm, NULL);
            }
        } else {
            while (idles && at >= began && at < ends) {
                struct connection *each = &all[idle[first]];
                first = (first + 1) % connections;
                idles--;
                busy++;
                ask(each, now());
            }
        }
        if (!busy && (rate ? due >= total : at >= ends)) break;
        if (at > gives_up) break;
        int found = epoll_wait(poll_fd, events, 256, rate ? 100 : at < began ? 1 : 100);
        for (int event = 0; event < found; event++) {
            struct connection *each = events[event].data.ptr;
            if (!each) {
                uint64_t ticked;
                if (read(timer, &ticked, 8) < 0 && errno != EAGAIN) fail("timer");
                continue;
            }
            if (events[event].events & EPOLLOUT) {
                watch(each, 0);
                push(each);
            }
            if (!(events[event].events & (EPOLLIN | EPOLLHUP | EPOLLERR))) continue;
            ssize_t size = read(each->fd, each->buffer + each->have, BUFFER - 1 - each->have);
            if (size < 0 && errno == EAGAIN) continue;
            int gone = size <= 0, whole = 0;
            if (!gone) {
                each->have += size;
                whole = is_grpc ? read_grpc(each) : read_http(each);
            }
            if (each->busy && (whole || gone)) {
                note(each->due, each->sent, now(), whole ? each->status : UNANSWERED, each->flags);
                each->busy = 0;
                busy--;
                idle[(first + idles++) % connections] = each - all;
            }
            if (gone || (whole && each->flags & CLOSED)) {
                close(each->fd);
                join(each);
            }
        }
    }
    double at = now();
    for (int each = 0; each < connections; each++)
        if (all[each].busy) note(all[each].due, all[each].sent, at, UNANSWERED, 0);
    for (; due < total; due++) note(began + due / rate, at, at, UNSENT, 0);
    file = fopen(words[3], "wb");
    if (!file || fwrite(records, sizeof *records, count, file) != count || fclose(file)) fail(words[3]);
    return 0;
}
