/* Preloaded into daemons of the fault laboratory: a clock that is wrong, a disk that is full, read-only or slow.
 *
 * The file that SABOTAGE names is mapped and may change at any time (struct orders); SABOTAGE_FOLDER: the folder whose
 * files the disk's faults are about. Only CLOCK_REALTIME is wrong: durations go by the monotonic clock.
 * SABOTAGE_SOURCE: the IPv4 address that connections come from, so that a relay knows whose they are.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

enum { WELL = 0, FULL = 1, READ_ONLY = 2, SLOW = 3 };
enum { SLOW_US = 300000 };

struct orders {
    int64_t clock_ns; /* added to the clock */
    int64_t disk;
};

static const struct orders nothing = {0, WELL};
static const volatile struct orders *orders = &nothing;
static const char *folder, *source;

__attribute__((constructor)) static void begin(void)
{
    const char *path = getenv("SABOTAGE");
    int fd = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    void *mapped = fd >= 0 ? mmap(NULL, sizeof(struct orders), PROT_READ, MAP_SHARED, fd, 0) : MAP_FAILED;
    if (mapped != MAP_FAILED)
        orders = mapped;
    if (fd >= 0)
        close(fd);
    folder = getenv("SABOTAGE_FOLDER");
    source = getenv("SABOTAGE_SOURCE");
}

static int ours(const char *path)
{
    return folder && strncmp(path, folder, strlen(folder)) == 0;
}

static int ours_open(int fd)
{
    char link[64], path[512];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (length < 0)
        return 0;
    path[length] = 0;
    return ours(path);
}

int clock_gettime(clockid_t clock, struct timespec *at)
{
    static int (*real)(clockid_t, struct timespec *);
    if (!real)
        real = dlsym(RTLD_NEXT, "clock_gettime");
    int status = real(clock, at);
    int64_t offset = orders->clock_ns;
    if (status == 0 && clock == CLOCK_REALTIME && offset) {
        int64_t ns = at->tv_nsec + offset % 1000000000;
        at->tv_sec += offset / 1000000000 + (ns < 0 ? -1 : ns >= 1000000000);
        at->tv_nsec = (ns + 1000000000) % 1000000000;
    }
    return status;
}

int gettimeofday(struct timeval *restrict at, void *restrict zone)
{
    struct timespec now;
    (void)zone;
    int status = clock_gettime(CLOCK_REALTIME, &now);
    at->tv_sec = now.tv_sec;
    at->tv_usec = now.tv_nsec / 1000;
    return status;
}

time_t time(time_t *at)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    if (at)
        *at = now.tv_sec;
    return now.tv_sec;
}

static int refused(const char *path, int flags)
{
    if (orders->disk == READ_ONLY && (flags & (O_WRONLY | O_RDWR | O_CREAT)) && ours(path)) {
        errno = EROFS;
        return 1;
    }
    return 0;
}

#define OPEN(name)                                                          \
    int name(const char *path, int flags, ...)                              \
    {                                                                       \
        static int (*real)(const char *, int, ...);                         \
        va_list more;                                                       \
        va_start(more, flags);                                              \
        mode_t mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(more, mode_t) : 0; \
        va_end(more);                                                       \
        if (!real)                                                          \
            real = dlsym(RTLD_NEXT, #name);                                 \
        return refused(path, flags) ? -1 : real(path, flags, mode);         \
    }
OPEN(open)
OPEN(open64)

ssize_t write(int fd, const void *data, size_t size)
{
    static ssize_t (*real)(int, const void *, size_t);
    if (!real)
        real = dlsym(RTLD_NEXT, "write");
    if (orders->disk == FULL && ours_open(fd)) {
        errno = ENOSPC;
        return -1;
    }
    return real(fd, data, size);
}

int fsync(int fd)
{
    static int (*real)(int);
    if (!real)
        real = dlsym(RTLD_NEXT, "fsync");
    if (orders->disk == SLOW && ours_open(fd))
        usleep(SLOW_US);
    return real(fd);
}

static int locked(const char *path)
{
    if (orders->disk == READ_ONLY && ours(path)) {
        errno = EROFS;
        return 1;
    }
    return 0;
}

int rename(const char *from, const char *to)
{
    static int (*real)(const char *, const char *);
    if (!real)
        real = dlsym(RTLD_NEXT, "rename");
    return locked(to) ? -1 : real(from, to);
}

int unlink(const char *path)
{
    static int (*real)(const char *);
    if (!real)
        real = dlsym(RTLD_NEXT, "unlink");
    return locked(path) ? -1 : real(path);
}

int connect(int fd, const struct sockaddr *to, socklen_t size)
{
    static int (*real)(int, const struct sockaddr *, socklen_t);
    if (!real)
        real = dlsym(RTLD_NEXT, "connect");
    if (source && to->sa_family == AF_INET) {
        struct sockaddr_in from = {.sin_family = AF_INET};
        int on = 1, before = errno;
        setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof on);
        if (inet_pton(AF_INET, source, &from.sin_addr) == 1)
            (void)!bind(fd, (struct sockaddr *)&from, sizeof from);
        errno = before;
    }
    return real(fd, to, size);
}
