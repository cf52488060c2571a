/* A disk that fails on demand, for tests: cc -shared -fPIC -o faulty_disk.so faulty_disk.c, LD_PRELOAD it.
 *
 * FAULTY_DISK names a file; its first word is what happens now to files whose name holds ".db":
 *   enospc  writes fail with ENOSPC        eio_write  writes fail with EIO
 *   eio     fsync and fdatasync fail       slow       they take 20 ms longer
 * An empty or missing file means a good disk.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <time.h>
#include <unistd.h>

static int mode_is(const char *word) {
    const char *path = getenv("FAULTY_DISK");
    char text[32] = {0};
    if (path == NULL) return 0;
    int fd = (int)syscall(SYS_openat, AT_FDCWD, path, O_RDONLY | O_CLOEXEC, 0);
    if (fd < 0) return 0;
    long got = syscall(SYS_read, fd, text, sizeof text - 1);
    syscall(SYS_close, fd);
    return got > 0 && strncmp(text, word, strlen(word)) == 0 &&
           (text[strlen(word)] == 0 || text[strlen(word)] == '\n');
}

static int ours(int fd) {
    char link[64], name[512] = {0};
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    long got = readlink(link, name, sizeof name - 1);
    return got > 0 && strstr(name, ".db") != NULL && strstr(name, "-shm") == NULL;
}

static int write_fault(int fd) {
    if (mode_is("enospc") && ours(fd)) return ENOSPC;
    if (mode_is("eio_write") && ours(fd)) return EIO;
    return 0;
}

static int sync_fault(int fd) {
    if (mode_is("slow") && ours(fd)) {
        struct timespec pause = {0, 20 * 1000 * 1000};
        nanosleep(&pause, NULL);
    }
    return mode_is("eio") && ours(fd) ? EIO : 0;
}

#define FAIL_IF(call) \
    do { int why = (call); if (why) { errno = why; return -1; } } while (0)

ssize_t write(int fd, const void *data, size_t size) {
    FAIL_IF(write_fault(fd));
    return syscall(SYS_write, fd, data, size);
}
ssize_t pwrite(int fd, const void *data, size_t size, off_t at) {
    FAIL_IF(write_fault(fd));
    return syscall(SYS_pwrite64, fd, data, size, at);
}
ssize_t pwrite64(int fd, const void *data, size_t size, off64_t at) {
    FAIL_IF(write_fault(fd));
    return syscall(SYS_pwrite64, fd, data, size, at);
}
int fsync(int fd) {
    FAIL_IF(sync_fault(fd));
    return (int)syscall(SYS_fsync, fd);
}
int fdatasync(int fd) {
    FAIL_IF(sync_fault(fd));
    return (int)syscall(SYS_fdatasync, fd);
}
