/* Calls of the system that change files below a folder, counted; the nth of them ends the process or fails.

   Loaded with LD_PRELOAD, it is in front of the C library for Python and SQLite alike. Until fault_arm is called nothing differs. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static char below[PATH_MAX], mark[PATH_MAX];
static size_t length; /* of below; 0: nothing is counted */
static long nth, calls;
static int error; /* 0: end the process */

#define NEXT(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

void fault_arm(const char *folder, long number, int failing, const char *marker) {
    snprintf(below, sizeof below, "%s", folder);
    snprintf(mark, sizeof mark, "%s", marker);
    nth = number, error = failing, calls = 0, length = strlen(below);
}

/* Whether this call is the one. It leaves the marker. */
static int struck(const char *path) {
    if (!length || !path || strncmp(path, below, length) || __atomic_add_fetch(&calls, 1, __ATOMIC_SEQ_CST) != nth) return 0;
    NEXT(close)(NEXT(open)(mark, O_CREAT | O_WRONLY, 0600));
    if (!error) _exit(9);
    errno = error;
    return 1;
}

static int struck_file(int file) {
    char link[64], path[PATH_MAX];
    if (!length) return 0;
    snprintf(link, sizeof link, "/proc/self/fd/%d", file);
    ssize_t size = readlink(link, path, sizeof path - 1);
    path[size < 0 ? 0 : size] = 0;
    return struck(path);
}

#define OPEN(name)                                                                           \
    int name(const char *path, int flags, ...) {                                             \
        va_list rest;                                                                        \
        va_start(rest, flags);                                                               \
        mode_t mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(rest, mode_t) : 0;              \
        va_end(rest);                                                                        \
        if (flags & (O_WRONLY | O_RDWR | O_CREAT) && struck(path)) return -1;                \
        return NEXT(name)(path, flags, mode);                                                \
    }
OPEN(open)
OPEN(open64)

ssize_t write(int file, const void *from, size_t size) { return struck_file(file) ? -1 : NEXT(write)(file, from, size); }

ssize_t pwrite(int file, const void *from, size_t size, off_t at) {
    return struck_file(file) ? -1 : NEXT(pwrite)(file, from, size, at);
}

ssize_t pwrite64(int file, const void *from, size_t size, off64_t at) {
    return struck_file(file) ? -1 : NEXT(pwrite64)(file, from, size, at);
}

int fsync(int file) { return struck_file(file) ? -1 : NEXT(fsync)(file); }
int fdatasync(int file) { return struck_file(file) ? -1 : NEXT(fdatasync)(file); }
int ftruncate(int file, off_t size) { return struck_file(file) ? -1 : NEXT(ftruncate)(file, size); }
int ftruncate64(int file, off64_t size) { return struck_file(file) ? -1 : NEXT(ftruncate64)(file, size); }
int rename(const char *from, const char *to) { return struck(to) ? -1 : NEXT(rename)(from, to); }
int unlink(const char *path) { return struck(path) ? -1 : NEXT(unlink)(path); }
int mkdir(const char *path, mode_t mode) { return struck(path) ? -1 : NEXT(mkdir)(path, mode); }
int rmdir(const char *path) { return struck(path) ? -1 : NEXT(rmdir)(path); }
