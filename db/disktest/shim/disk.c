// What stands before libc's writes: see the package comment of disktest.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static pthread_mutex_t mu = PTHREAD_MUTEX_INITIALIZER;

static ssize_t (*real_pwrite)(int, const void *, size_t, off_t);
static ssize_t (*real_write)(int, const void *, size_t);
static int (*real_ftruncate)(int, off_t);

__attribute__((constructor)) static void find(void) {
	real_pwrite = dlsym(RTLD_NEXT, "pwrite64");
	real_write = dlsym(RTLD_NEXT, "write");
	real_ftruncate = dlsym(RTLD_NEXT, "ftruncate64");
}

// name_of gives the base name of a file in the watched folder, or NULL. The index of a
// WAL is made anew after a crash, and is never synced.
static const char *name_of(int fd, char *path) {
	const char *dir = getenv("DISKTEST_DIR");
	char link[64];
	snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
	ssize_t n = readlink(link, path, PATH_MAX - 1);
	if (dir == NULL || n < 0) return NULL;
	path[n] = 0;
	size_t len = strlen(dir);
	if (strncmp(path, dir, len) != 0 || path[len] != '/') return NULL;
	const char *name = path + len + 1;
	size_t l = strlen(name);
	if (strchr(name, '/') || (l > 4 && strcmp(name + l - 4, "-shm") == 0)) return NULL;
	return name;
}

static int full(void) {
	char flag[PATH_MAX];
	snprintf(flag, sizeof flag, "%s/full", getenv("DISKTEST_LOG"));
	return access(flag, F_OK) == 0;
}

static int undo_log(const char *name, int flags) {
	char log[2 * PATH_MAX];
	snprintf(log, sizeof log, "%s/%s.undo", getenv("DISKTEST_LOG"), name);
	return open(log, flags | O_CREAT | O_CLOEXEC, 0600);
}

// note writes down what [off, off+len) holds, and how long the file is, in one write:
// a record is whole, or what it announces did not happen.
static void note(int fd, const char *name, off_t off, size_t len) {
	struct stat st;
	if (fstat(fd, &st) != 0) abort();
	size_t old = 0;
	if (off < st.st_size) old = (size_t)(st.st_size - off) < len ? (size_t)(st.st_size - off) : len;
	struct { uint64_t off, size, new_end, old; } head = {off, st.st_size, off + len, old};
	char *record = malloc(sizeof head + old);
	if (record == NULL) abort();
	memcpy(record, &head, sizeof head);
	if (old > 0) {
		// The file may be open for writing alone.
		char path[64];
		snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
		int in = open(path, O_RDONLY | O_CLOEXEC);
		if (in < 0 || pread(in, record + sizeof head, old, off) != (ssize_t)old) abort();
		close(in);
	}
	int log = undo_log(name, O_WRONLY | O_APPEND);
	if (log < 0 || real_write(log, record, sizeof head + old) != (ssize_t)(sizeof head + old)) abort();
	close(log);
	free(record);
}

static ssize_t put(int fd, const void *buf, size_t n, off_t off, int seeks) {
	char path[PATH_MAX];
	const char *name = name_of(fd, path);
	if (name == NULL) return seeks ? real_write(fd, buf, n) : real_pwrite(fd, buf, n, off);
	pthread_mutex_lock(&mu);
	ssize_t done = -1;
	if (full()) {
		errno = ENOSPC;
	} else {
		note(fd, name, off, n);
		done = seeks ? real_write(fd, buf, n) : real_pwrite(fd, buf, n, off);
	}
	int err = errno;
	pthread_mutex_unlock(&mu);
	errno = err;
	return done;
}

ssize_t pwrite(int fd, const void *buf, size_t n, off_t off) { return put(fd, buf, n, off, 0); }
ssize_t pwrite64(int fd, const void *buf, size_t n, off_t off) { return put(fd, buf, n, off, 0); }
ssize_t write(int fd, const void *buf, size_t n) { return put(fd, buf, n, lseek(fd, 0, SEEK_CUR), 1); }

static int cut_off(int fd, off_t size) {
	char path[PATH_MAX];
	const char *name = name_of(fd, path);
	if (name == NULL) return real_ftruncate(fd, size);
	pthread_mutex_lock(&mu);
	struct stat st;
	if (fstat(fd, &st) != 0) abort();
	if (size < st.st_size) note(fd, name, size, st.st_size - size);
	int done = real_ftruncate(fd, size);
	int err = errno;
	pthread_mutex_unlock(&mu);
	errno = err;
	return done;
}

int ftruncate(int fd, off_t size) { return cut_off(fd, size); }
int ftruncate64(int fd, off_t size) { return cut_off(fd, size); }

// A sync is counted, and forgets what the file was. The machine keeps its power, so
// nothing is synced for real; it takes as long as the test says.
static int synced(int fd) {
	char path[PATH_MAX];
	const char *name = name_of(fd, path);
	if (name == NULL) return 0;
	const char *us = getenv("DISKTEST_SYNC");
	if (us != NULL) usleep((useconds_t)atoi(us));
	pthread_mutex_lock(&mu);
	int log = undo_log(name, O_WRONLY | O_TRUNC);
	if (log >= 0) close(log);
	char count[PATH_MAX];
	snprintf(count, sizeof count, "%s/syncs", getenv("DISKTEST_LOG"));
	int n = open(count, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
	if (log < 0 || n < 0 || real_write(n, ".", 1) != 1) abort();
	close(n);
	pthread_mutex_unlock(&mu);
	return 0;
}

int fsync(int fd) { return synced(fd); }
int fdatasync(int fd) { return synced(fd); }
