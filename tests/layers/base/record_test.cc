#include "soleguard/record.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <random>
#include <string>
#include <string_view>
#include <vector>

#include <absl/strings/str_cat.h>
#include <absl/strings/str_format.h>
#include <absl/strings/str_replace.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#define XXH_INLINE_ALL
#include <xxhash.h>

#include "soleguard/text.h"
#include "support/record_of_schema_1.h"

namespace soleguard {
namespace {

using ::testing::EndsWith;
using ::testing::HasSubstr;
using ::testing::StartsWith;

constexpr std::size_t kHeaderSize = 62;

ProcessIdentity SomeIdentity(std::int64_t pid) {
  return {.boot_id = "0d7e84a5-6b68-44cf-8fca-8bb0a0cd1f27",
          .pid_namespace = 4026531836,
          .pid = pid,
          .start_ticks = 10627439};
}

HolderRecord SomeRecord() {
  HolderRecord record;
  record.state = RecordState::kEstablished;
  record.name = "trading_bot";
  record.scope = "user 1000";
  record.identity = SomeIdentity(4711);
  record.instance = SomeIdentity(4713);
  record.hostname = "hermes";
  record.user = "ada";
  record.executable = "/usr/local/bin/trading_bot";
  record.working_directory = "/home/ada/bot";
  record.started = absl::FromUnixMicros(1'753'000'000'123'456);
  record.policy = "all(file, mutex, port, scan)";
  record.layers = {"file", "mutex", "port", "scan"};
  record.token = 1'753'000'000'123'456;
  record.version = "1.0.0";
  return record;
}

void ExpectSame(const HolderRecord& actual, const HolderRecord& expected) {
  EXPECT_EQ(actual.state, expected.state);
  EXPECT_EQ(actual.name, expected.name);
  EXPECT_EQ(actual.scope, expected.scope);
  EXPECT_EQ(actual.identity, expected.identity);
  EXPECT_EQ(actual.instance, expected.instance);
  EXPECT_EQ(actual.hostname, expected.hostname);
  EXPECT_EQ(actual.user, expected.user);
  EXPECT_EQ(actual.executable, expected.executable);
  EXPECT_EQ(actual.working_directory, expected.working_directory);
  EXPECT_EQ(actual.started, expected.started);
  EXPECT_EQ(actual.policy, expected.policy);
  EXPECT_EQ(actual.layers, expected.layers);
  EXPECT_EQ(actual.token, expected.token);
  EXPECT_EQ(actual.version, expected.version);
}

HolderRecord Decoded(std::string_view bytes) {
  absl::StatusOr<DecodedRecord> decoded = DecodeRecord(bytes);
  EXPECT_TRUE(decoded.ok()) << decoded.status();
  return decoded.ok() ? decoded->record : HolderRecord();
}

void ExpectRoundTrip(const HolderRecord& record) {
  const std::string bytes = EncodeRecord(record, 7);
  ASSERT_EQ(bytes.size(), kRecordSize);
  ExpectSame(Decoded(bytes), record);
}

// An area with a valid header and checksum around any text.
std::string Framed(std::string_view json, std::uint64_t sequence = 1,
                   std::string_view format = "1") {
  const std::string covered = absl::StrFormat("%020u %04u ", sequence, json.size());
  const std::string all = covered + std::string(json);
  std::string area =
      absl::StrCat("soleguard-record ", std::string(format), " ", covered,
                   absl::StrFormat("%016x\n", XXH64(all.data(), all.size(), 0)), std::string(json));
  area.resize(kRecordSize - 1, ' ');
  return area + '\n';
}

std::string JsonOf(const HolderRecord& record) {
  const std::string bytes = EncodeRecord(record, 1);
  const std::size_t end = bytes.find_last_not_of(" \n") + 1;
  return bytes.substr(kHeaderSize, end - kHeaderSize);
}

void ExpectDataLoss(std::string_view bytes, const std::string& why) {
  const absl::Status status = DecodeRecord(bytes).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kDataLoss) << status;
  EXPECT_THAT(std::string(status.message()), HasSubstr(why));
}

// A record in which `from` was replaced, with a checksum that fits.
std::string WithJson(const std::string& from, const std::string& to) {
  const std::string json = JsonOf(SomeRecord());
  EXPECT_THAT(json, HasSubstr(from));
  return Framed(absl::StrReplaceAll(json, {{from, to}}));
}

TEST(Record, IsReadAsItWasWritten) {
  const std::string bytes = EncodeRecord(SomeRecord(), 42);
  ASSERT_EQ(bytes.size(), kRecordSize);
  const absl::StatusOr<DecodedRecord> decoded = DecodeRecord(bytes);
  ASSERT_TRUE(decoded.ok()) << decoded.status();
  EXPECT_EQ(decoded->sequence, 42u);
  ExpectSame(decoded->record, SomeRecord());
}

TEST(Record, IsOneHeaderLineAndOneLineOfJson) {
  const std::string bytes = EncodeRecord(SomeRecord(), 42);
  EXPECT_THAT(bytes, StartsWith("soleguard-record 1 00000000000000000042 "));
  EXPECT_EQ(bytes.find('\n'), kHeaderSize - 1);
  EXPECT_EQ(bytes.find('\n', kHeaderSize), kRecordSize - 1);
  EXPECT_THAT(JsonOf(SomeRecord()),
              StartsWith(R"({"schema":1,"state":"established","name":"trading_bot",)"));
  EXPECT_THAT(JsonOf(SomeRecord()), HasSubstr(R"("started":"2025-07-20T08:26:40.123456Z")"));
}

TEST(Record, KeepsEveryState) {
  HolderRecord record = SomeRecord();
  for (const RecordState state :
       {RecordState::kCandidate, RecordState::kEstablished, RecordState::kReleasing}) {
    record.state = state;
    ExpectRoundTrip(record);
  }
}

TEST(Record, KeepsTheLargestNumbers) {
  HolderRecord record = SomeRecord();
  record.token = std::numeric_limits<std::uint64_t>::max();
  record.identity.start_ticks = std::numeric_limits<std::uint64_t>::max();
  record.identity.pid_namespace = std::numeric_limits<std::uint64_t>::max();
  record.identity.pid = std::numeric_limits<std::int32_t>::max();
  ExpectRoundTrip(record);
  record.token = (std::uint64_t{1} << 53) + 1;  // the first that a double would change
  ExpectRoundTrip(record);

  const absl::StatusOr<DecodedRecord> decoded =
      DecodeRecord(EncodeRecord(record, std::numeric_limits<std::uint64_t>::max()));
  ASSERT_TRUE(decoded.ok());
  EXPECT_EQ(decoded->sequence, std::numeric_limits<std::uint64_t>::max());
}

TEST(Record, WithoutAnInstanceHasNone) {
  HolderRecord record = SomeRecord();
  record.instance.reset();
  record.layers.clear();
  EXPECT_EQ(JsonOf(record).find("instance"), std::string::npos);
  ExpectRoundTrip(record);
}

TEST(Record, KeepsMicrosecondsAndTimesOutOfTheOrdinary) {
  HolderRecord record = SomeRecord();
  record.started += absl::Nanoseconds(999);
  EXPECT_EQ(Decoded(EncodeRecord(record, 1)).started, SomeRecord().started);
  for (const absl::Time time : {absl::UnixEpoch(), absl::UnixEpoch() - absl::Microseconds(1),
                                absl::InfiniteFuture(), absl::InfinitePast()}) {
    record.started = time;
    ExpectRoundTrip(record);
  }
}

TEST(Record, H34_KeepsNamesOfEveryAllowedByte) {
  HolderRecord record = SomeRecord();
  record.name.clear();
  for (int byte = 0x20; byte < 0x100; ++byte) {
    if (byte != '/' && byte != 0x7f) record.name += static_cast<char>(byte);
  }
  record.executable = "/x\n\x1b\xff\"\\\\x41";
  record.layers = {"port(47777)", "file(path=/tmp/\xff \"x\".lock)"};
  ExpectRoundTrip(record);
  // Valid, printable JSON for all that.
  const std::string json = JsonOf(record);
  EXPECT_EQ(EscapeBytes(json).size(),
            json.size() + static_cast<std::size_t>(std::count(json.begin(), json.end(), '\\')));
}

// Each byte of the name becomes five of JSON: a backslash is escaped again.
TEST(Record, H21_NeverCutsANameOrAnIdentity) {
  HolderRecord record = SomeRecord();
  record.name = std::string(255, '\xff');
  record.token = record.identity.start_ticks = record.identity.pid_namespace =
      std::numeric_limits<std::uint64_t>::max();
  record.instance = record.identity;
  const std::string huge(100'000, '\x1b');
  record.scope = record.hostname = record.user = record.executable = huge;
  record.working_directory = record.policy = record.version = huge;
  record.layers.assign(1000, std::string(20, '\x1b'));

  const std::string bytes = EncodeRecord(record, 1);
  ASSERT_EQ(bytes.size(), kRecordSize);
  const HolderRecord decoded = Decoded(bytes);
  EXPECT_EQ(decoded.name, record.name);
  EXPECT_EQ(decoded.identity, record.identity);
  EXPECT_EQ(decoded.instance, record.instance);
  EXPECT_EQ(decoded.state, record.state);
  EXPECT_EQ(decoded.token, record.token);
  EXPECT_EQ(decoded.started, record.started);
  EXPECT_EQ(decoded.working_directory, "…");
  EXPECT_EQ(decoded.layers, std::vector<std::string>{"…"});
}

TEST(Record, CutsPathsFirstAndNoMoreThanNeeded) {
  HolderRecord record = SomeRecord();
  record.working_directory = "/" + std::string(4000, 'd');
  const HolderRecord decoded = Decoded(EncodeRecord(record, 1));
  EXPECT_EQ(decoded.executable, record.executable);
  EXPECT_EQ(decoded.policy, record.policy);
  EXPECT_THAT(decoded.working_directory, StartsWith("/ddd"));
  EXPECT_THAT(decoded.working_directory, EndsWith("d…"));
  EXPECT_EQ(JsonOf(record).size(), kRecordSize - kHeaderSize - 1) << "the area is used to the end";
}

TEST(Record, CutsBetweenCharactersAndEscapes) {
  for (const std::string_view unit : {"é", "😀", "\xff", "\\", "\"", "a😀\xff\\\""}) {
    for (std::size_t shift = 0; shift < 8; ++shift) {
      HolderRecord record = SomeRecord();
      record.working_directory = std::string(shift, 'x');
      while (record.working_directory.size() < 5000) record.working_directory += unit;
      const std::string kept = Decoded(EncodeRecord(record, 1)).working_directory;
      ASSERT_THAT(kept, EndsWith("…"));
      const std::string prefix = kept.substr(0, kept.size() - std::string_view("…").size());
      EXPECT_THAT(record.working_directory, StartsWith(prefix));
      EXPECT_GT(prefix.size(), 500u);
    }
  }
}

TEST(Record, ThatCannotFitIsNeverMistakenForAnother) {
  HolderRecord record = SomeRecord();
  record.name = std::string(5000, 'n');  // no valid InstanceName
  const std::string bytes = EncodeRecord(record, 1);
  EXPECT_EQ(bytes.size(), kRecordSize);
  EXPECT_EQ(DecodeRecord(bytes).status().code(), absl::StatusCode::kNotFound);
}

TEST(Record, OfAnAreaNeverWrittenIsNotFound) {
  for (const std::string& bytes : {std::string(), std::string(kRecordSize, '\0'),
                                   std::string(kRecordSize, ' '), std::string(100, '\0')}) {
    EXPECT_EQ(DecodeRecord(bytes).status().code(), absl::StatusCode::kNotFound);
  }
}

TEST(Record, H26_TornByTwoWritersIsOneOfThemOrNone) {
  HolderRecord first = SomeRecord();
  HolderRecord second = SomeRecord();
  second.state = RecordState::kReleasing;
  second.identity.pid = 4712;
  HolderRecord longer = SomeRecord();
  longer.working_directory = "/" + std::string(2000, 'd');

  const std::string areas[] = {EncodeRecord(first, 1), EncodeRecord(second, 2),
                               EncodeRecord(longer, 3)};
  for (const std::string& head : areas) {
    for (const std::string& tail : areas) {
      for (std::size_t cut = 0; cut <= kRecordSize; cut += 64) {
        const std::string torn = head.substr(0, cut) + tail.substr(cut);
        if (torn == head || torn == tail) continue;
        EXPECT_EQ(DecodeRecord(torn).status().code(), absl::StatusCode::kDataLoss) << cut;
      }
    }
  }
}

TEST(Record, H26_TruncatedAnywhereIsRefused) {
  const std::string bytes = EncodeRecord(SomeRecord(), 1);
  for (std::size_t size = 1; size < kRecordSize; ++size) {
    ASSERT_EQ(DecodeRecord(bytes.substr(0, size)).status().code(), absl::StatusCode::kDataLoss);
  }
  ExpectDataLoss(bytes + "\n", "4097 bytes");
  ExpectDataLoss(bytes.substr(0, 10), "10 bytes");
}

TEST(Record, H26_WithAnyBitFlippedIsRefused) {
  std::string bytes = EncodeRecord(SomeRecord(), 1);
  for (std::size_t i = 0; i < kRecordSize; ++i) {
    for (int bit = 0; bit < 8; ++bit) {
      bytes[i] = static_cast<char>(bytes[i] ^ (1 << bit));
      ASSERT_EQ(DecodeRecord(bytes).status().code(), absl::StatusCode::kDataLoss)
          << "bit " << bit << " of byte " << i;
      bytes[i] = static_cast<char>(bytes[i] ^ (1 << bit));
    }
  }
  EXPECT_TRUE(DecodeRecord(bytes).ok());
}

TEST(Record, H26_OfRandomBytesIsRefused) {
  const unsigned seed = std::random_device{}();
  SCOPED_TRACE(::testing::Message() << "seed " << seed);
  std::mt19937 random(seed);
  ExpectDataLoss(std::string(kRecordSize, '\xff'), "does not begin as one");
  const std::string valid = EncodeRecord(SomeRecord(), 1);
  for (int round = 0; round < 2000; ++round) {
    std::string bytes(random() % (kRecordSize + 10) + 1, '\0');
    for (char& c : bytes) c = static_cast<char>(random() % 256);
    // Half of them behind a valid beginning.
    if (round % 2 == 0) {
      bytes.resize(kRecordSize, 'x');
      bytes.replace(0, kHeaderSize, valid, 0, kHeaderSize);
    }
    ASSERT_EQ(DecodeRecord(bytes).status().code(), absl::StatusCode::kDataLoss);
  }
}

// The JSON is damaged before the checksum is made, so that all of the parser is reached.
TEST(Record, H26_OfRandomlyChangedJsonNeverConfusesTheParser) {
  const unsigned seed = std::random_device{}();
  SCOPED_TRACE(::testing::Message() << "seed " << seed);
  std::mt19937 random(seed);
  const std::string json = JsonOf(SomeRecord());
  constexpr std::string_view kAlphabet = "{}[]\",:0123456789-+.eE\\unultrfas \xff";
  for (int round = 0; round < 20'000; ++round) {
    std::string changed = json;
    for (auto count = random() % 3 + 1; count > 0; --count) {
      changed[random() % changed.size()] = kAlphabet[random() % kAlphabet.size()];
    }
    const absl::StatusOr<DecodedRecord> decoded = DecodeRecord(Framed(changed));
    if (!decoded.ok()) {
      ASSERT_EQ(decoded.status().code(), absl::StatusCode::kDataLoss);
      continue;
    }
    ASSERT_GT(decoded->record.identity.pid, 0);
    const absl::StatusOr<DecodedRecord> again = DecodeRecord(EncodeRecord(decoded->record, 1));
    ASSERT_TRUE(again.ok()) << again.status();
  }
}

TEST(Record, OfAnotherVersionSaysWhich) {
  ExpectDataLoss(WithJson("\"schema\":1", "\"schema\":0"), "schema 0, this soleguard reads 2");
  ExpectDataLoss(Framed(R"({"schema":99})"), "schema 99, this soleguard reads 2");
  ExpectDataLoss(Framed(JsonOf(SomeRecord()), 1, "2"), "format 2, this soleguard reads 1");
  ExpectDataLoss(Framed(JsonOf(SomeRecord()), 1, "\x1b[2J"), "format is no number");
}

// What never changes is read, and nothing else, whatever it is by then.
TEST(Record, H55_OfANewerSchemaIsReadAsFarAsNothingChanges) {
  const HolderRecord expected = SomeRecord();
  for (const std::string& json :
       {absl::StrReplaceAll(JsonOf(expected), {{"\"schema\":1", "\"schema\":3"}}),
        std::string(
            R"({"schema":3,"state":"established","name":"trading_bot","scope":"user 1000",)"
            R"("identity":{"boot_id":"0d7e84a5-6b68-44cf-8fca-8bb0a0cd1f27",)"
            R"("pid_namespace":4026531836,"pid":4711,"start_ticks":10627439,"cgroup":"/x"},)"
            R"("instance":{"boot_id":"0d7e84a5-6b68-44cf-8fca-8bb0a0cd1f27",)"
            R"("pid_namespace":4026531836,"pid":4713,"start_ticks":10627439},)"
            R"("started":17,"policy":{"all":[]},"layers":null,)"
            R"("token":1753000000123456,"version":"1.0.0"})")}) {
    const HolderRecord record = Decoded(Framed(json));
    EXPECT_EQ(record.schema, 3U);
    EXPECT_TRUE(record.is_newer());
    EXPECT_EQ(NewerSoleguard(record), "a newer soleguard (schema 3)");
    EXPECT_EQ(record.state, expected.state);
    EXPECT_EQ(record.name, expected.name);
    EXPECT_EQ(record.scope, expected.scope);
    EXPECT_EQ(record.identity, expected.identity);
    EXPECT_EQ(record.instance, expected.instance);
    EXPECT_EQ(record.token, expected.token);
    EXPECT_EQ(record.version, expected.version);
    EXPECT_EQ(record.policy, "");
    EXPECT_EQ(record.executable, "");
    EXPECT_THAT(record.layers, ::testing::IsEmpty());
    EXPECT_EQ(record.started, absl::InfinitePast());
  }
  EXPECT_FALSE(SomeRecord().is_newer());
  ExpectDataLoss(Framed(absl::StrReplaceAll(JsonOf(expected), {{"\"schema\":1", "\"schema\":3"},
                                                               {"\"identity\"", "\"who\""}})),
                 "identity is missing (schema 3, this soleguard reads 2)");
}

TEST(Record, H55_WhatSchema1WroteIsReadForEver) {
  const auto area = [](std::string_view text) {
    std::string bytes(text);
    bytes.resize(kRecordSize - 1, ' ');
    return bytes + '\n';
  };
  const HolderRecord handed_on = Decoded(area(testing::kHandedOnOfSchema1));
  HolderRecord expected = SomeRecord();
  expected.slot = 2;
  expected.scope = "/run/x";
  expected.instance->start_ticks += 1;
  expected.executable = "/usr/bin/\xff";
  expected.policy = "all(file, mutex, port)";
  expected.layers = {"file", "mutex", "port"};
  expected.version = "0.1.0";
  ExpectSame(handed_on, expected);
  EXPECT_EQ(handed_on.slot, 2U);
  const HolderRecord given_up = Decoded(area(testing::kGivenUpOfSchema1));
  EXPECT_EQ(given_up.state, RecordState::kReleasing);
  EXPECT_EQ(given_up.token, 0U);
  EXPECT_EQ(given_up.slot, 0U);
  EXPECT_FALSE(given_up.instance.has_value());
}

// The other direction: an older soleguard on the same machine.
TEST(Record, H55_WhatIsWrittenNowIsReadBySchema1) {
  HolderRecord record = SomeRecord();
  for (const RecordState state :
       {RecordState::kCandidate, RecordState::kEstablished, RecordState::kReleasing}) {
    record.state = state;
    const auto read = testing::ReadAsSchema1(EncodeRecord(record, 7));
    EXPECT_EQ(read.at("state").as_string(), ToString(state));
    EXPECT_EQ(read.at("token").to_number<std::uint64_t>(), record.token);
    record.instance.reset();
    record.slot = 3;
    record.working_directory = std::string(5000, 'd');
  }
}

// A process of another machine looks like one of this machine to who knows no machines, so such a
// record says that it is of a form which he does not know. All others stay as they were.
TEST(Record, H55_OnlyARecordThatNamesAMachineIsOfSchema2) {
  EXPECT_EQ(Decoded(EncodeRecord(SomeRecord(), 1)).schema, 1U);
  const std::string machine = "5e0c4f9e-0d4e-5d8e-9a53-0d6c5ac0b2a4";
  for (const auto name_machine :
       {+[](HolderRecord&record, const std::string&id) { record.identity.machine = id; },
        +[](HolderRecord&record, const std::string&id) { record.instance->machine = id; },
        +[](HolderRecord&record, const std::string&id) {
          record.guardian = SomeIdentity(4712);
          record.guardian->machine = id;
        }}) {
    HolderRecord record = SomeRecord();
    name_machine(record, machine);
    const HolderRecord read = Decoded(EncodeRecord(record, 1));
    ExpectSame(read, record);
    EXPECT_EQ(read.guardian, record.guardian);
    EXPECT_EQ(read.schema, 2U);
    EXPECT_FALSE(read.is_newer());
  }
}

TEST(Record, IgnoresMembersOfLaterVersionsAndReadsTheLastOfTwo) {
  ExpectSame(Decoded(WithJson("{\"schema\"", "{\"colour\":[{\"x\":null}],\"schema\"")),
             SomeRecord());
  EXPECT_EQ(Decoded(WithJson("\"token\":", "\"token\":1,\"token\":")).token, SomeRecord().token);
}

TEST(Record, SaysWhatIsWrong) {
  ExpectDataLoss(WithJson("\"established\"", "\"winner\""), "state");
  ExpectDataLoss(WithJson("\"name\":", "\"nome\":"), "name is missing");
  ExpectDataLoss(WithJson("\"trading_bot\"", "17"), "name is no text");
  ExpectDataLoss(WithJson("\"pid\":4711", "\"pid\":0"), "pid is out of range");
  ExpectDataLoss(WithJson("\"pid\":4711", "\"pid\":-1"), "pid is no number");
  ExpectDataLoss(WithJson("\"pid\":4711", "\"pid\":2147483648"), "pid is out of range");
  ExpectDataLoss(WithJson("\"pid\":4711", "\"pid\":4711.5"), "pid is no number");
  ExpectDataLoss(WithJson("\"pid\":4711", "\"pid\":\"4711\""), "pid is no number");
  ExpectDataLoss(WithJson("\"token\":", "\"token\":99999999999"), "token is no number");
  ExpectDataLoss(WithJson("2025-07-20T", "2025-17-20T"), "started is no time");
  ExpectDataLoss(WithJson("[\"file\",", "[7,"), "layers is no text");
  ExpectDataLoss(WithJson("[\"file\",\"mutex\",\"port\",\"scan\"]", "null"), "layers is no list");
  ExpectDataLoss(WithJson("\"instance\":{", "\"instance\":{}, \"x\":{"), "boot_id is missing");
  ExpectDataLoss(Framed("[]"), "no object");
  ExpectDataLoss(Framed(""), "no valid holder record");
  ExpectDataLoss(Framed("{} {}"), "no valid holder record");
  ExpectDataLoss(Framed(std::string(4000, '[')), "no valid holder record");
}

TEST(Record, WithSomethingBehindItIsRefused) {
  std::string bytes = EncodeRecord(SomeRecord(), 1);
  bytes[kRecordSize - 2] = '}';
  ExpectDataLoss(bytes, "something follows it");
  bytes = EncodeRecord(SomeRecord(), 1);
  bytes[kRecordSize - 1] = ' ';
  ExpectDataLoss(bytes, "something follows it");
}

}  // namespace
}  // namespace soleguard
