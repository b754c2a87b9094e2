#include "board.h"

#include <new>
#include <utility>

#include <boost/interprocess/mapped_region.hpp>
#include <boost/interprocess/shared_memory_object.hpp>

namespace launch_storm {
namespace {

namespace ipc = boost::interprocess;

static_assert(std::atomic<std::uint32_t>::is_always_lock_free &&
                  std::atomic<std::int64_t>::is_always_lock_free &&
                  std::atomic<Stage>::is_always_lock_free,
              "a lock of one process would mean nothing to another");

constexpr std::size_t kSlotsOffset =
    (sizeof(Head) + alignof(Slot) - 1) / alignof(Slot) * alignof(Slot);

}  // namespace

void Gate::Open() {
  open_.store(1);
  WakeAll(open_);
}

bool Gate::Await(std::int64_t deadline) const {
  while (!IsOpen()) {
    if (Now() >= deadline) return false;
    WaitWhile(open_, 0, deadline);
  }
  return true;
}

void Bell::Ring() {
  count_.fetch_add(1);
  WakeAll(count_);
}

class Board::Memory {
 public:
  explicit Memory(ipc::shared_memory_object object)
      : object_(std::move(object)), region_(object_, ipc::read_write) {}
  std::byte* address() const { return static_cast<std::byte*>(region_.get_address()); }

 private:
  ipc::shared_memory_object object_;
  ipc::mapped_region region_;
};

Board::Board(std::string name, std::unique_ptr<Memory> memory, bool owner)
    : name_(std::move(name)), memory_(std::move(memory)), owner_(owner) {}

Board::Board(Board&& other) noexcept
    : name_(std::move(other.name_)),
      memory_(std::move(other.memory_)),
      owner_(std::exchange(other.owner_, false)),
      head_(other.head_),
      slots_(other.slots_) {}

Board::~Board() {
  if (owner_) ipc::shared_memory_object::remove(name_.c_str());
}

Board Board::Create(const std::string& name, std::uint32_t launches) {
  ipc::shared_memory_object object(ipc::create_only, name.c_str(), ipc::read_write,
                                   ipc::permissions(0600));
  object.truncate(static_cast<ipc::offset_t>(kSlotsOffset + launches * sizeof(Slot)));
  Board board(name, std::make_unique<Memory>(std::move(object)), /*owner=*/true);
  std::byte* address = board.memory_->address();
  board.head_ = new (address) Head;
  board.head_->launches = launches;
  Slot* first = nullptr;
  for (std::uint32_t i = 0; i < launches; ++i) {
    Slot* slot = new (address + kSlotsOffset + i * sizeof(Slot)) Slot;
    if (i == 0) first = slot;
  }
  board.slots_ = {first, launches};
  return board;
}

Board Board::Open(const std::string& name) {
  ipc::shared_memory_object object(ipc::open_only, name.c_str(), ipc::read_write);
  Board board(name, std::make_unique<Memory>(std::move(object)), /*owner=*/false);
  std::byte* address = board.memory_->address();
  board.head_ = std::launder(reinterpret_cast<Head*>(address));
  board.slots_ = {std::launder(reinterpret_cast<Slot*>(address + kSlotsOffset)),
                  board.head_->launches};
  return board;
}

void Board::CountVerdict() {
  const std::uint32_t count = head_->verdicts.fetch_add(1) + 1;
  // Not at each: the referee would take the processor from those who are still asking.
  if (count == head_->launches || count == head_->first_wave) head_->bell.Ring();
}

}  // namespace launch_storm
