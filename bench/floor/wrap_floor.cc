// wrap_floor FILE COMMAND...: the least that any guard of a command does. Locks FILE with flock(2),
// checks that the path still leads to it, writes a record of 4,096 bytes, starts the command, which
// inherits the lock, waits, and ends with its status. No guardian: what a SIGKILL leaves is left.
//
// Plain system calls and linked statically, so that what a guard costs more is the guard's own.
#include <fcntl.h>
#include <spawn.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

int main(int argc, char** argv) {
  if (argc < 3) return 64;
  const int fd = open(argv[1], O_RDWR | O_CREAT | O_NOFOLLOW, 0600);  // inherited: no O_CLOEXEC
  if (fd < 0) return 69;
  if (flock(fd, LOCK_EX | LOCK_NB) != 0) return 75;
  struct stat opened = {};
  struct stat named = {};
  if (fstat(fd, &opened) != 0 || lstat(argv[1], &named) != 0) return 69;
  if (opened.st_dev != named.st_dev || opened.st_ino != named.st_ino) return 69;
  static char record[4096];
  if (pwrite(fd, record, sizeof record, 0) != sizeof record) return 69;

  pid_t child = 0;
  if (posix_spawnp(&child, argv[2], nullptr, nullptr, argv + 2, environ) != 0) return 127;
  int status = 0;
  if (waitpid(child, &status, 0) != child) return 70;
  return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}
