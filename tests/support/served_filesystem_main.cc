// A filesystem of a program (FUSE), which shows another directory: served_filesystem MOUNT_POINT
// DIRECTORY. A line "block" on its standard input lets locks on it hang from then on, "serve" lets
// them through again, also those that hang. Each line, and the mount, is answered with a line.
#define FUSE_USE_VERSION 31
#include <dirent.h>
#include <fcntl.h>
#include <fuse3/fuse.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <condition_variable>
#include <cstdio>
#include <cstring>
#include <iostream>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

namespace {

std::string root;  // set once, before the first request
std::mutex mutex;
std::condition_variable changed;
bool blocked = false;

std::string At(const char* path) { return root + path; }
int Result(long result) { return result < 0 ? -errno : static_cast<int>(result); }
int Fd(const fuse_file_info* info) { return static_cast<int>(info->fh); }

int GetAttributes(const char* path, struct stat* status, fuse_file_info*) {
  return Result(lstat(At(path).c_str(), status));
}
int MakeDirectory(const char* path, mode_t mode) { return Result(mkdir(At(path).c_str(), mode)); }
int MakeNode(const char* path, mode_t mode, dev_t device) {
  return Result(mknod(At(path).c_str(), mode, device));
}
int Remove(const char* path) { return Result(unlink(At(path).c_str())); }
int RemoveDirectory(const char* path) { return Result(rmdir(At(path).c_str())); }
int ChangeMode(const char* path, mode_t mode, fuse_file_info*) {
  return Result(chmod(At(path).c_str(), mode));
}
int Truncate(const char* path, off_t size, fuse_file_info*) {
  return Result(truncate(At(path).c_str(), size));
}
int Open(const char* path, fuse_file_info* info) {
  const int fd = open(At(path).c_str(), info->flags);
  info->fh = static_cast<std::uint64_t>(fd);
  return fd < 0 ? -errno : 0;
}
int Create(const char* path, mode_t mode, fuse_file_info* info) {
  const int fd = open(At(path).c_str(), info->flags | O_CREAT, mode);
  info->fh = static_cast<std::uint64_t>(fd);
  return fd < 0 ? -errno : 0;
}
int Read(const char*, char* bytes, size_t size, off_t offset, fuse_file_info* info) {
  return Result(pread(Fd(info), bytes, size, offset));
}
int Write(const char*, const char* bytes, size_t size, off_t offset, fuse_file_info* info) {
  return Result(pwrite(Fd(info), bytes, size, offset));
}
int Release(const char*, fuse_file_info* info) { return Result(close(Fd(info))); }
int ReadDirectory(const char* path, void* buffer, fuse_fill_dir_t fill, off_t, fuse_file_info*,
                  fuse_readdir_flags) {
  DIR* directory = opendir(At(path).c_str());
  if (directory == nullptr) return -errno;
  while (const dirent* entry = readdir(directory)) {
    (void)fill(buffer, entry->d_name, nullptr, 0, fuse_fill_dir_flags{});
  }
  return Result(closedir(directory));
}
int Lock(const char*, fuse_file_info* info, int operation) {
  std::unique_lock lock(mutex);
  changed.wait(lock, [] { return !blocked; });
  return Result(flock(Fd(info), operation));
}

void Obey() {
  for (std::string line; std::getline(std::cin, line);) {
    {
      const std::lock_guard lock(mutex);
      blocked = line == "block";
    }
    changed.notify_all();
    std::cout << "done" << std::endl;
  }
}

}  // namespace

int main(int, char** argv) {
  root = argv[2];
  fuse_operations operations = {};
  operations.getattr = GetAttributes;
  operations.mkdir = MakeDirectory;
  operations.mknod = MakeNode;
  operations.unlink = Remove;
  operations.rmdir = RemoveDirectory;
  operations.chmod = ChangeMode;
  operations.truncate = Truncate;
  operations.open = Open;
  operations.create = Create;
  operations.read = Read;
  operations.write = Write;
  operations.release = Release;
  operations.readdir = ReadDirectory;
  operations.flock = Lock;

  std::string name = argv[0];
  char* arguments[] = {name.data(), nullptr};
  fuse_args args = FUSE_ARGS_INIT(1, arguments);
  fuse* served = fuse_new(&args, &operations, sizeof operations, nullptr);
  if (served == nullptr || fuse_mount(served, argv[1]) != 0) return 1;
  std::cout << "mounted" << std::endl;
  std::thread(Obey).detach();
  const int result = fuse_loop_mt(served, /*clone_fd=*/0);
  fuse_unmount(served);
  return result;
}
