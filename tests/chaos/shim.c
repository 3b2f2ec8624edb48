/* Preloaded into a scan: from the nth system call on of one kind on one file, it fails, or kills the process.

   Off until chaos_arm is called. kind: w (write, pwrite), s (fsync, fdatasync), t (ftruncate), r (rename), u (unlink).
   error: an errno, or 0 for SIGKILL before the call, -1 for SIGKILL after it. times: how many calls fail. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static char ending[256];
static char kind;
static int at, times, error_, seen;

void chaos_arm(const char *path_ending, char kind_, int at_, int times_, int error)
{
    strncpy(ending, path_ending, sizeof ending - 1);
    kind = kind_; at = at_; times = times_; error_ = error; seen = 0;
}

int chaos_seen(void) { return seen; }

static int named(const char *path)
{
    size_t n = strlen(path), m = strlen(ending);
    return n >= m && strcmp(path + n - m, ending) == 0;
}

static int on_file(int fd)
{
    char link[64], path[4096];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t n = readlink(link, path, sizeof path - 1);
    if (n < 0) return 0;
    path[n] = 0;
    return named(path);
}

/* 0: go on; 1: fail with errno set; 2: do it and die */
static int struck(char of, int fd, const char *path)
{
    if (at == 0 || of != kind || !(path ? named(path) : on_file(fd))) return 0;
    seen++;
    if (seen < at || seen >= at + times) return 0;
    if (error_ == 0) kill(getpid(), SIGKILL);
    if (error_ == -1) return 2;
    errno = error_;
    return 1;
}

#define WRAP(type, name, of, fd, path, params, args)                              \
    type name params                                                              \
    {                                                                             \
        static type (*real) params;                                               \
        if (!real) real = (type (*) params) dlsym(RTLD_NEXT, #name);              \
        int what = struck(of, fd, path);                                          \
        if (what == 1) return -1;                                                 \
        type result = real args;                                                  \
        if (what == 2) kill(getpid(), SIGKILL);                                   \
        return result;                                                            \
    }

WRAP(ssize_t, write, 'w', fd, NULL, (int fd, const void *data, size_t n), (fd, data, n))
WRAP(ssize_t, pwrite, 'w', fd, NULL, (int fd, const void *data, size_t n, off_t where), (fd, data, n, where))
WRAP(ssize_t, pwrite64, 'w', fd, NULL, (int fd, const void *data, size_t n, off64_t where), (fd, data, n, where))
WRAP(int, fsync, 's', fd, NULL, (int fd), (fd))
WRAP(int, fdatasync, 's', fd, NULL, (int fd), (fd))
WRAP(int, ftruncate, 't', fd, NULL, (int fd, off_t size), (fd, size))
WRAP(int, ftruncate64, 't', fd, NULL, (int fd, off64_t size), (fd, size))
WRAP(int, rename, 'r', -1, to, (const char *from, const char *to), (from, to))
WRAP(int, unlink, 'u', -1, path, (const char *path), (path))
