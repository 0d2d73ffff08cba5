/* A library for LD_PRELOAD that keeps a journal of all changes below one folder, so that a crash can be replayed.

   L2S_JOURNAL_ROOT is the folder, without symbolic links; L2S_JOURNAL is the file of the journal, outside of it. Each
   record is a header, then two paths, then data; faults/journal.py reads them. A record is written under a lock
   together with its change, so their order is the order of the changes, over all processes and threads.

   Changes that it cannot follow (writable shared mappings, preallocation, exchanged names) are recorded as such. It does
   not see what bypasses libc: safetensors makes and renames its files so, but writes them through libc, and a write has
   the file's present path, an fsync that of the file or all names in the folder. What is still missed shows when the
   replayed journal is compared with the folder. */

#define _GNU_SOURCE
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

enum { CREATE = 1, MKDIR, SYMLINK, LINK, TRUNCATE, WRITE, RENAME, REMOVE, FSYNC, UNKNOWN };

struct header {
    uint32_t op, pid;
    uint64_t inode;
    int64_t offset;
    uint32_t path, path2, data; /* bytes of each that follow */
    uint32_t unused;
};

static char root[PATH_MAX], journal[PATH_MAX];
static size_t root_length;

#define REAL(name) ((__typeof__(&name))real(#name))

static void *real(const char *name) {
    void *found = dlsym(RTLD_NEXT, name);
    if (!found) abort();
    return found;
}

__attribute__((constructor)) static void begin(void) {
    const char *given = getenv("L2S_JOURNAL_ROOT"), *file = getenv("L2S_JOURNAL");
    if (!given || !file) return;
    snprintf(root, sizeof root, "%s", given);
    snprintf(journal, sizeof journal, "%s", file);
    root_length = strlen(root);
}

static int below_root(const char *path) {
    return root_length && !strncmp(path, root, root_length) && (path[root_length] == '/' || !path[root_length]);
}

/* The path of an entry, its folder without symbolic links; 0 where it is not below the root. */
static int locate(int folder, const char *path, char *found) {
    char whole[2 * PATH_MAX], link[64];
    if (!root_length || !path) return 0;
    if (path[0] == '/') {
        snprintf(whole, sizeof whole, "%s", path);
    } else {
        if (folder == AT_FDCWD) snprintf(link, sizeof link, "/proc/self/cwd");
        else snprintf(link, sizeof link, "/proc/self/fd/%d", folder);
        ssize_t length = readlink(link, whole, PATH_MAX - 1);
        if (length < 0) return 0;
        snprintf(whole + length, sizeof whole - (size_t)length, "/%s", path);
    }
    size_t end = strlen(whole);
    while (end > 1 && whole[end - 1] == '/') whole[--end] = 0;
    char *name = strrchr(whole, '/'), parent[PATH_MAX];
    *name++ = 0;
    if (!realpath(whole[0] ? whole : "/", parent)) return 0;
    snprintf(found, PATH_MAX, "%s/%s", strcmp(parent, "/") ? parent : "", name);
    return below_root(found);
}

struct file {
    struct stat stat;
    char path[PATH_MAX]; /* as the kernel knows it now; that of a removed file ends with " (deleted)" */
};

/* Whether a descriptor is a file or folder below the root; a removed file counts. */
static int is_ours(int descriptor, struct file *file) {
    char link[64];
    if (!root_length || fstat(descriptor, &file->stat)) return 0;
    if (!S_ISREG(file->stat.st_mode) && !S_ISDIR(file->stat.st_mode)) return 0;
    snprintf(link, sizeof link, "/proc/self/fd/%d", descriptor);
    ssize_t length = readlink(link, file->path, sizeof file->path - 1);
    if (length < 0) return 0;
    file->path[length] = 0;
    return below_root(file->path);
}

/* Each change opens the journal itself: a lock of an inherited descriptor would not exclude the parent process. */
static int take(void) {
    int descriptor = REAL(open)(journal, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
    if (descriptor < 0 || flock(descriptor, LOCK_EX)) abort();
    return descriptor;
}

/* A path found before the lock may be wrong once it is ours: another process may have removed or renamed its folder. */
static int take_for(int descriptor, struct file *file) {
    int lock = take();
    is_ours(descriptor, file);
    return lock;
}

static int take_at(int folder, const char *path, char *found) {
    int lock = take();
    locate(folder, path, found);
    return lock;
}

static void put(int descriptor, const void *data, size_t length) {
    for (size_t done = 0; done < length;) {
        ssize_t written = REAL(write)(descriptor, (const char *)data + done, length - done);
        if (written < 0) abort();
        done += (size_t)written;
    }
}

static void record(int descriptor, struct header header, const char *path, const char *path2, const void *data) {
    header.pid = (uint32_t)getpid();
    header.path = path ? (uint32_t)strlen(path) : 0;
    header.path2 = path2 ? (uint32_t)strlen(path2) : 0;
    put(descriptor, &header, sizeof header);
    put(descriptor, path, header.path);
    put(descriptor, path2, header.path2);
    put(descriptor, data, header.data);
}

static void give(int descriptor) {
    int before = errno;
    REAL(close)(descriptor);
    errno = before;
}

static uint64_t inode_of(const char *path) {
    struct stat stat;
    return lstat(path, &stat) ? 0 : stat.st_ino;
}

/* Files: made, cut, written */

static int opened(int descriptor, int lock, const char *path, int existed, int cut) {
    struct stat stat;
    if (descriptor >= 0 && !fstat(descriptor, &stat) && S_ISREG(stat.st_mode)) {
        if (!existed) record(lock, (struct header){.op = CREATE, .inode = stat.st_ino}, path, NULL, NULL);
        else if (cut) record(lock, (struct header){.op = TRUNCATE, .inode = stat.st_ino}, path, NULL, NULL);
    }
    give(lock);
    return descriptor;
}

#define OPEN(name, parameters, arguments, folder)                                   \
    int name parameters {                                                           \
        char found[PATH_MAX];                                                       \
        mode_t mode = 0;                                                            \
        if (flags & (O_CREAT | __O_TMPFILE)) {                                      \
            va_list rest;                                                           \
            va_start(rest, flags);                                                  \
            mode = va_arg(rest, mode_t);                                            \
            va_end(rest);                                                           \
        }                                                                           \
        if (!(flags & (O_CREAT | O_TRUNC)) || !locate(folder, path, found))         \
            return ((int (*) parameters)real(#name))arguments;                      \
        int lock = take_at(folder, path, found), existed = inode_of(found) != 0;        \
        return opened(((int (*) parameters)real(#name))arguments, lock, found, existed, flags & O_TRUNC); \
    }

OPEN(open, (const char *path, int flags, ...), (path, flags, mode), AT_FDCWD)
OPEN(open64, (const char *path, int flags, ...), (path, flags, mode), AT_FDCWD)
OPEN(openat, (int folder, const char *path, int flags, ...), (folder, path, flags, mode), folder)
OPEN(openat64, (int folder, const char *path, int flags, ...), (folder, path, flags, mode), folder)

int creat(const char *path, mode_t mode) { return open(path, O_CREAT | O_WRONLY | O_TRUNC, mode); }
int creat64(const char *path, mode_t mode) { return open64(path, O_CREAT | O_WRONLY | O_TRUNC, mode); }

#define FOPEN(name)                                                                  \
    FILE *name(const char *path, const char *mode) {                                 \
        char found[PATH_MAX];                                                        \
        if (mode[0] == 'r' || !locate(AT_FDCWD, path, found)) return REAL(name)(path, mode); \
        int lock = take_at(AT_FDCWD, path, found), existed = inode_of(found) != 0;   \
        FILE *file = REAL(name)(path, mode);                                         \
        opened(file ? fileno(file) : -1, lock, found, existed, mode[0] == 'w');      \
        return file;                                                                 \
    }

FOPEN(fopen)
FOPEN(fopen64)

static void wrote(int lock, const struct file *file, off_t offset, const void *data, ssize_t length) {
    struct header header = {.op = WRITE, .inode = file->stat.st_ino, .offset = offset, .data = (uint32_t)length};
    if (length > 0) record(lock, header, file->path, NULL, data);
    give(lock);
}

ssize_t write(int descriptor, const void *data, size_t length) {
    struct file file;
    if (!is_ours(descriptor, &file)) return REAL(write)(descriptor, data, length);
    int lock = take_for(descriptor, &file);
    ssize_t done = REAL(write)(descriptor, data, length);
    wrote(lock, &file, lseek(descriptor, 0, SEEK_CUR) - done, data, done);
    return done;
}

ssize_t writev(int descriptor, const struct iovec *parts, int count) {
    struct file file;
    if (!is_ours(descriptor, &file)) return REAL(writev)(descriptor, parts, count);
    ssize_t all = 0;
    for (int part = 0; part < count; part++) {
        ssize_t done = write(descriptor, parts[part].iov_base, parts[part].iov_len);
        if (done < 0) return all ? all : done;
        all += done;
        if ((size_t)done < parts[part].iov_len) break;
    }
    return all;
}

#define PWRITE(name)                                                                     \
    ssize_t name(int descriptor, const void *data, size_t length, off_t offset) {        \
        struct file file;                                                                \
        if (!is_ours(descriptor, &file)) return REAL(name)(descriptor, data, length, offset); \
        int lock = take_for(descriptor, &file);                                          \
        ssize_t done = REAL(name)(descriptor, data, length, offset);                     \
        wrote(lock, &file, offset, data, done);                              \
        return done;                                                                     \
    }

PWRITE(pwrite)
PWRITE(pwrite64)

#define FTRUNCATE(name)                                                                  \
    int name(int descriptor, off_t length) {                                             \
        struct file file;                                                                \
        if (!is_ours(descriptor, &file)) return REAL(name)(descriptor, length);          \
        int lock = take_for(descriptor, &file), failed = REAL(name)(descriptor, length); \
        if (!failed) record(lock, (struct header){.op = TRUNCATE, .inode = file.stat.st_ino, .offset = length}, file.path, NULL, NULL); \
        give(lock);                                                                      \
        return failed;                                                                   \
    }

FTRUNCATE(ftruncate)
FTRUNCATE(ftruncate64)

/* Names */

#define NAMED(name, parameters, arguments, folder, operation, second)                    \
    int name parameters {                                                                \
        char found[PATH_MAX];                                                            \
        if (!locate(folder, path, found)) return REAL(name) arguments;                   \
        int lock = take_at(folder, path, found), failed = REAL(name) arguments;          \
        if (!failed) record(lock, (struct header){.op = operation, .inode = inode_of(found)}, found, second, NULL); \
        give(lock);                                                                      \
        return failed;                                                                   \
    }

NAMED(mkdir, (const char *path, mode_t mode), (path, mode), AT_FDCWD, MKDIR, NULL)
NAMED(mkdirat, (int folder, const char *path, mode_t mode), (folder, path, mode), folder, MKDIR, NULL)
NAMED(symlink, (const char *target, const char *path), (target, path), AT_FDCWD, SYMLINK, target)
NAMED(symlinkat, (const char *target, int folder, const char *path), (target, folder, path), folder, SYMLINK, target)
NAMED(link, (const char *old, const char *path), (old, path), AT_FDCWD, LINK, NULL)
NAMED(linkat, (int a, const char *old, int folder, const char *path, int flags), (a, old, folder, path, flags), folder, LINK, NULL)
NAMED(unlink, (const char *path), (path), AT_FDCWD, REMOVE, NULL)
NAMED(unlinkat, (int folder, const char *path, int flags), (folder, path, flags), folder, REMOVE, NULL)
NAMED(rmdir, (const char *path), (path), AT_FDCWD, REMOVE, NULL)
NAMED(remove, (const char *path), (path), AT_FDCWD, REMOVE, NULL)

#define RENAME_AS(name, parameters, arguments, folder, folder2, operation)               \
    int name parameters {                                                                \
        char found[PATH_MAX], found2[PATH_MAX];                                          \
        int from = locate(folder, old, found), to = locate(folder2, path, found2);       \
        if (!from && !to) return REAL(name) arguments;                                   \
        int lock = take();                                                               \
        from = locate(folder, old, found), to = locate(folder2, path, found2);           \
        int failed = REAL(name) arguments;                                               \
        if (!failed) record(lock, (struct header){.op = from && to ? operation : UNKNOWN}, found, found2, NULL); \
        give(lock);                                                                      \
        return failed;                                                                   \
    }

RENAME_AS(rename, (const char *old, const char *path), (old, path), AT_FDCWD, AT_FDCWD, RENAME)
RENAME_AS(renameat, (int a, const char *old, int b, const char *path), (a, old, b, path), a, b, RENAME)
RENAME_AS(renameat2, (int a, const char *old, int b, const char *path, unsigned flags), (a, old, b, path, flags), a, b,
          flags & RENAME_EXCHANGE ? UNKNOWN : RENAME)

/* What makes changes durable */

/* The entries of a folder, each "inode name", ended by a zero byte. */
static char *entries_of(const char *path, uint32_t *length) {
    char *found = NULL;
    size_t size = 0;
    FILE *text = open_memstream(&found, &size);
    DIR *folder = opendir(path);
    for (struct dirent *entry; folder && (entry = readdir(folder));)
        if (strcmp(entry->d_name, ".") && strcmp(entry->d_name, ".."))
            fprintf(text, "%llu %s%c", (unsigned long long)entry->d_ino, entry->d_name, 0);
    if (folder) closedir(folder);
    fclose(text);
    *length = (uint32_t)size;
    return found;
}

static int synced(int lock, const struct file *file, int failed) {
    struct header header = {.op = FSYNC, .inode = file->stat.st_ino};
    char *entries = S_ISDIR(file->stat.st_mode) ? entries_of(file->path, &header.data) : NULL;
    if (!failed) record(lock, header, file->path, NULL, entries);
    free(entries);
    give(lock);
    return failed;
}

#define SYNC_AS(name)                                                                    \
    int name(int descriptor) {                                                           \
        struct file file;                                                                \
        if (!is_ours(descriptor, &file)) return REAL(name)(descriptor);                  \
        int lock = take_for(descriptor, &file);                                          \
        return synced(lock, &file, REAL(name)(descriptor));                              \
    }

SYNC_AS(fsync)
SYNC_AS(fdatasync)

/* What the journal cannot follow: refused where callers then write in another way, else recorded as unknown. */

ssize_t sendfile(int to, int from, off_t *offset, size_t length) {
    struct file file;
    if (is_ours(to, &file)) return errno = EINVAL, -1;
    return ((ssize_t (*)(int, int, off_t *, size_t))real("sendfile"))(to, from, offset, length);
}

ssize_t sendfile64(int to, int from, off_t *offset, size_t length) { return sendfile(to, from, offset, length); }

ssize_t copy_file_range(int from, off_t *offset, int to, off_t *offset2, size_t length, unsigned flags) {
    struct file file;
    if (is_ours(to, &file)) return errno = EXDEV, -1;
    return REAL(copy_file_range)(from, offset, to, offset2, length, flags);
}

static void unknown(const char *what) {
    int lock = take();
    record(lock, (struct header){.op = UNKNOWN}, what, NULL, NULL);
    give(lock);
}

#define MMAP(name)                                                                       \
    void *name(void *address, size_t length, int access, int flags, int descriptor, off_t offset) { \
        struct file file;                                                                \
        if (access & PROT_WRITE && flags & MAP_SHARED && descriptor >= 0 && is_ours(descriptor, &file)) \
            unknown("a writable shared mapping");                                        \
        return REAL(name)(address, length, access, flags, descriptor, offset);           \
    }

MMAP(mmap)
MMAP(mmap64)

#define FALLOCATE(name, parameters, arguments)                                           \
    int name parameters {                                                                \
        struct file file;                                                                \
        if (is_ours(descriptor, &file)) unknown("preallocation");                        \
        return REAL(name) arguments;                                                     \
    }

FALLOCATE(fallocate, (int descriptor, int mode, off_t offset, off_t length), (descriptor, mode, offset, length))
FALLOCATE(fallocate64, (int descriptor, int mode, off_t offset, off_t length), (descriptor, mode, offset, length))
FALLOCATE(posix_fallocate, (int descriptor, off_t offset, off_t length), (descriptor, offset, length))
FALLOCATE(posix_fallocate64, (int descriptor, off_t offset, off_t length), (descriptor, offset, length))
