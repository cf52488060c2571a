/* Makes the disk slow, failing or full, and the wall clock wrong, for one process and its children.
 *
 * LD_PRELOADed; the file named by TORTURE_CONTROL is mapped and read at each call, so the driver switches
 * faults on and off while the process runs. Only regular files below TORTURE_DIR are touched.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

struct control {
    volatile int32_t sync_delay_ms; /* before each fsync and fdatasync */
    volatile int32_t sync_errno;    /* 0: they work */
    volatile int32_t write_errno;   /* 0: writes work */
    volatile int32_t reserved;
    volatile int64_t clock_offset_s; /* added to CLOCK_REALTIME */
};

static const struct control quiet;
static const struct control *control = &quiet;
static char folder[PATH_MAX];

__attribute__((constructor)) static void begin(void) {
    const char *name = getenv("TORTURE_CONTROL"), *dir = getenv("TORTURE_DIR");
    if (!name || !dir || !realpath(dir, folder)) return;
    int fd = open(name, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return;
    void *map = mmap(NULL, sizeof quiet, PROT_READ, MAP_SHARED, fd, 0);
    close(fd);
    if (map != MAP_FAILED) control = map;
}

static int ours(int fd) {
    char link[64], path[PATH_MAX];
    int saved = errno;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, sizeof path - 1);
    errno = saved;
    if (length < 0) return 0;
    path[length] = 0;
    return folder[0] && strncmp(path, folder, strlen(folder)) == 0;
}

static int refuse(int fd, int32_t number) {
    if (!number || !ours(fd)) return 0;
    errno = number;
    return 1;
}

static void slow(int fd) {
    int32_t ms = control->sync_delay_ms;
    if (ms > 0 && ours(fd)) {
        struct timespec pause = {ms / 1000, (ms % 1000) * 1000000L};
        nanosleep(&pause, NULL);
    }
}

#define NEXT(type, name) \
    static type next; \
    if (!next) next = (type)dlsym(RTLD_NEXT, name)

typedef int (*sync_call)(int);
typedef ssize_t (*write_call)(int, const void *, size_t);
typedef ssize_t (*pwrite_call)(int, const void *, size_t, off64_t);
typedef int (*truncate_call)(int, off64_t);
typedef int (*clock_call)(clockid_t, struct timespec *);

int fsync(int fd) {
    NEXT(sync_call, "fsync");
    slow(fd);
    return refuse(fd, control->sync_errno) ? -1 : next(fd);
}

int fdatasync(int fd) {
    NEXT(sync_call, "fdatasync");
    slow(fd);
    return refuse(fd, control->sync_errno) ? -1 : next(fd);
}

ssize_t write(int fd, const void *data, size_t count) {
    NEXT(write_call, "write");
    return refuse(fd, control->write_errno) ? -1 : next(fd, data, count);
}

ssize_t pwrite64(int fd, const void *data, size_t count, off64_t offset) {
    NEXT(pwrite_call, "pwrite64");
    return refuse(fd, control->write_errno) ? -1 : next(fd, data, count, offset);
}

ssize_t pwrite(int fd, const void *data, size_t count, off_t offset) {
    NEXT(pwrite_call, "pwrite64");
    return refuse(fd, control->write_errno) ? -1 : next(fd, data, count, offset);
}

int ftruncate64(int fd, off64_t length) {
    NEXT(truncate_call, "ftruncate64");
    return refuse(fd, control->write_errno) ? -1 : next(fd, length);
}

int clock_gettime(clockid_t id, struct timespec *now) {
    NEXT(clock_call, "clock_gettime");
    int result = next(id, now);
    if (result == 0 && id == CLOCK_REALTIME) now->tv_sec += control->clock_offset_s;
    return result;
}

int gettimeofday(struct timeval *now, void *zone) {
    struct timespec precise;
    (void)zone;
    int result = clock_gettime(CLOCK_REALTIME, &precise);
    if (result == 0) {
        now->tv_sec = precise.tv_sec;
        now->tv_usec = precise.tv_nsec / 1000;
    }
    return result;
}

time_t time(time_t *out) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    if (out) *out = now.tv_sec;
    return now.tv_sec;
}
