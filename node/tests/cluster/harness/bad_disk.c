/* Between a node and its disk: while a file exists, calls on files of one folder fail as it says:
 * "s" (what makes durable) or "w" (what writes), and the number of the error. Nothing else is
 * changed. Preloaded by the tests of disks, and part of no product. */

#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <unistd.h>

/* Whether a call of this kind is to fail; errno is set then, and left alone otherwise. */
static int refused(int fd, char kind) {
    const char *folder = getenv("BAD_DISK_FOLDER");
    const char *trigger = getenv("BAD_DISK_TRIGGER");
    char text[16] = {0}, link[64], path[PATH_MAX];
    int before = errno, file;
    ssize_t length;
    if (folder == NULL || trigger == NULL)
        return 0;
    file = open(trigger, O_RDONLY | O_CLOEXEC);
    if (file < 0) {
        errno = before;
        return 0;
    }
    length = read(file, text, sizeof text - 1);
    close(file);
    errno = before;
    if (length <= 0 || text[0] != kind)
        return 0;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    length = readlink(link, path, sizeof path - 1);
    errno = before;
    if (length <= 0)
        return 0;
    path[length] = 0;
    if (strncmp(path, folder, strlen(folder)) != 0)
        return 0;
    errno = atoi(text + 1);
    return 1;
}

int fsync(int fd) {
    int (*real)(int) = (int (*)(int))dlsym(RTLD_NEXT, "fsync");
    return refused(fd, 's') ? -1 : real(fd);
}

int fdatasync(int fd) {
    int (*real)(int) = (int (*)(int))dlsym(RTLD_NEXT, "fdatasync");
    return refused(fd, 's') ? -1 : real(fd);
}

ssize_t write(int fd, const void *bytes, size_t count) {
    ssize_t (*real)(int, const void *, size_t) =
        (ssize_t (*)(int, const void *, size_t))dlsym(RTLD_NEXT, "write");
    return refused(fd, 'w') ? -1 : real(fd, bytes, count);
}

ssize_t pwrite(int fd, const void *bytes, size_t count, off_t at) {
    ssize_t (*real)(int, const void *, size_t, off_t) =
        (ssize_t (*)(int, const void *, size_t, off_t))dlsym(RTLD_NEXT, "pwrite");
    return refused(fd, 'w') ? -1 : real(fd, bytes, count, at);
}

ssize_t pwrite64(int fd, const void *bytes, size_t count, off64_t at) {
    ssize_t (*real)(int, const void *, size_t, off64_t) =
        (ssize_t (*)(int, const void *, size_t, off64_t))dlsym(RTLD_NEXT, "pwrite64");
    return refused(fd, 'w') ? -1 : real(fd, bytes, count, at);
}
