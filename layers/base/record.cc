// The holder record as bytes:
//
//   soleguard-record 1 <sequence, 20 digits> <length of the JSON, 4 digits> <XXH64, 16 hex
//   digits>\n
//   {"schema":1,"state":"established","name":…}<blanks up to 4095 bytes>\n
//
// so that cat(1) shows it, and so that a reader who meets a half-written one can tell: the checksum
// covers sequence, length and JSON. (51,453 of 8.3 million reads on ext4 were torn.)
//
// Strings are raw bytes; in the JSON they are escaped by EscapeBytes, which loses nothing and
// leaves only printable UTF-8, in which JSON has but quotation marks and backslashes to escape.
#include "soleguard/record.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cstdint>
#include <initializer_list>
#include <limits>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <absl/strings/str_cat.h>
#include <boost/json.hpp>

#include "base/hash.h"
#include "soleguard/text.h"

namespace soleguard {
namespace {

namespace json = boost::json;

constexpr std::string_view kMagic = "soleguard-record ";
constexpr std::uint64_t kFormat = 1;
constexpr std::uint64_t kOldestSchema = 1;
constexpr std::uint64_t kSchemaOfMachines = 2;
constexpr std::string_view kNoMessages = "none";

// "1 ", 20 digits and a blank, 4 digits and a blank, 16 digits and '\n'.
constexpr std::size_t kHeaderSize = kMagic.size() + 2 + 21 + 5 + 17;
constexpr std::size_t kJsonLimit = kRecordSize - kHeaderSize - 1;  // the last byte is '\n'

constexpr std::string_view kEllipsis = "…";

// Debian's absl::string_view is a class of its own and does not convert.
absl::string_view Absl(std::string_view text) { return {text.data(), text.size()}; }

std::string Header(std::uint64_t sequence, std::string_view text) {
  const std::string head = absl::StrCat(absl::Dec(sequence, absl::kZeroPad20), " ",
                                        absl::Dec(text.size(), absl::kZeroPad4), " ");
  const std::uint64_t checksum = HashOf(absl::StrCat(head, Absl(text)));
  return absl::StrCat(Absl(kMagic), kFormat, " ", head, absl::Hex(checksum, absl::kZeroPad16),
                      "\n");
}

// Encoding.

// A text that EscapeBytes made, as a JSON string. Written by hand and not by Boost.JSON, because
// records are written on the way of every acquire, and shortened to an exact size.
void AppendJson(std::string& out, std::string_view escaped) {
  out += '"';
  for (const char c : escaped) {
    if (c == '"' || c == '\\') out += '\\';
    out += c;
  }
  out += '"';
}

// The size of `escaped` inside a JSON string.
std::size_t JsonSize(std::string_view escaped) {
  const auto quoted =
      std::count_if(escaped.begin(), escaped.end(), [](char c) { return c == '"' || c == '\\'; });
  return escaped.size() + static_cast<std::size_t>(quoted);
}

// What of a record may be shortened, escaped.
struct Texts {
  std::string scope;
  std::string hostname;
  std::string user;
  std::string executable;
  std::string cwd;
  std::string policy;
  std::vector<std::string> layers;
  std::string version;
};

Texts TextsOf(const HolderRecord& record) {
  // What is beyond the size of a whole record is cut anyway: not worth escaping first.
  const auto escape = [](std::string_view text) {
    return EscapeBytes(text.substr(0, kRecordSize));
  };
  Texts texts{.scope = escape(record.scope),
              .hostname = escape(record.hostname),
              .user = escape(record.user),
              .executable = escape(record.executable),
              .cwd = escape(record.working_directory),
              .policy = escape(record.policy),
              .layers = {},
              .version = escape(record.version)};
  for (const std::string& layer : record.layers) texts.layers.push_back(escape(layer));
  return texts;
}

void AppendIdentity(std::string& out, const ProcessIdentity& identity) {
  out += '{';
  if (!identity.machine.empty()) {
    out += "\"machine\":";
    AppendJson(out, EscapeBytes(identity.machine));
    out += ',';
  }
  out += "\"boot_id\":";
  AppendJson(out, EscapeBytes(identity.boot_id));
  absl::StrAppend(&out, ",\"pid_namespace\":", identity.pid_namespace, ",\"pid\":", identity.pid,
                  ",\"start_ticks\":", identity.start_ticks, "}");
}

std::string Stamp(absl::Time time) {
  return absl::FormatTime("%Y-%m-%d%ET%H:%M:%E6SZ", time, absl::UTCTimeZone());
}

// A reader that knows no machines would take a process of another one for its own machine's.
std::uint64_t SchemaFor(const HolderRecord& record) {
  const auto names_machine = [](const std::optional<ProcessIdentity>& process) {
    return process.has_value() && !process->machine.empty();
  };
  const bool any = names_machine(record.identity) || names_machine(record.instance) ||
                   names_machine(record.guardian);
  return any ? kSchemaOfMachines : kOldestSchema;
}

std::string Json(const HolderRecord& record, const Texts& texts) {
  std::string out = absl::StrCat("{\"schema\":", SchemaFor(record));
  out.reserve(kRecordSize);
  const auto append = [&out](std::string_view key, std::string_view escaped) {
    absl::StrAppend(&out, ",\"", Absl(key), "\":");
    AppendJson(out, escaped);
  };
  append("state", ToString(record.state));
  append("name", EscapeBytes(record.name));
  if (record.slot != 0) absl::StrAppend(&out, ",\"slot\":", record.slot);
  append("scope", texts.scope);
  out += ",\"identity\":";
  AppendIdentity(out, record.identity);
  if (record.instance) {
    out += ",\"instance\":";
    AppendIdentity(out, *record.instance);
  }
  if (record.guardian) {
    out += ",\"guardian\":";
    AppendIdentity(out, *record.guardian);
  }
  append("hostname", texts.hostname);
  append("user", texts.user);
  append("executable", texts.executable);
  append("cwd", texts.cwd);
  append("started", Stamp(record.started));
  append("policy", texts.policy);
  out += ",\"layers\":[";
  for (const std::string& layer : texts.layers) {
    if (&layer != &texts.layers.front()) out += ',';
    AppendJson(out, layer);
  }
  absl::StrAppend(&out, "],\"token\":", record.token);
  append("version", texts.version);
  if (!record.takes_messages) append("messages", kNoMessages);
  out += '}';
  return out;
}

// The size of the first character or escape of `escaped`.
std::size_t FirstUnit(std::string_view escaped) {
  if (escaped[0] == '\\') return escaped[1] == 'x' ? 4 : 2;
  const auto continues = [](char c) { return (static_cast<unsigned char>(c) & 0xc0) == 0x80; };
  std::size_t size = 1;
  while (size < escaped.size() && continues(escaped[size])) ++size;
  return size;
}

// Makes `escaped` shorter by `excess` bytes of JSON, or as short as can be.
void Shorten(std::string& escaped, std::size_t excess) {
  const std::size_t size = JsonSize(escaped);
  if (size <= kEllipsis.size()) return;
  const std::size_t keep = size - std::min(size, excess + kEllipsis.size());
  std::size_t end = 0;
  std::size_t kept = 0;
  while (end < escaped.size()) {
    const std::string_view unit =
        std::string_view(escaped).substr(end, FirstUnit(std::string_view(escaped).substr(end)));
    kept += JsonSize(unit);
    if (kept > keep) break;
    end += unit.size();
  }
  escaped.resize(end);
  escaped += kEllipsis;
}

// The same for a list: the last elements go.
void Shorten(std::vector<std::string>& list, std::size_t excess) {
  std::size_t wanted = excess + std::string_view(",\"\"").size() + kEllipsis.size();
  while (wanted > 0 && !list.empty()) {
    const std::size_t gain = JsonSize(list.back()) + std::string_view(",\"\"").size();
    wanted -= std::min(wanted, gain);
    list.pop_back();
  }
  list.emplace_back(kEllipsis);
}

// The record as JSON of at most kJsonLimit bytes. Nothing when even the parts that are never cut
// are longer, which they are not in a record of a valid name and of identities that the system
// gave.
std::optional<std::string> FittingJson(const HolderRecord& record) {
  Texts texts = TextsOf(record);
  std::string text = Json(record, texts);
  const auto fit = [&](auto& part) {
    if (text.size() <= kJsonLimit) return;
    Shorten(part, text.size() - kJsonLimit);
    text = Json(record, texts);
  };
  for (std::string* part : {&texts.cwd, &texts.executable, &texts.hostname, &texts.user})
    fit(*part);
  fit(texts.policy);
  fit(texts.layers);
  fit(texts.scope);
  fit(texts.version);
  if (text.size() > kJsonLimit) return std::nullopt;
  return text;
}

// Decoding.

template <typename Number>
bool ParseNumber(std::string_view text, Number& number) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  return error == std::errc() && end == text.data() + text.size();
}

absl::Status NoRecord(std::string_view why) {
  return absl::DataLossError(absl::StrCat("no valid holder record: ", Absl(why)));
}

std::string OtherVersion(std::string_view what, std::uint64_t found, std::uint64_t known) {
  return absl::StrCat(Absl(what), " ", found, ", this soleguard reads ", known);
}

struct Framed {
  std::uint64_t sequence = 0;
  std::string_view json;
};

// Checks all but the JSON.
absl::StatusOr<Framed> Unframe(std::string_view bytes) {
  if (bytes.size() != kRecordSize) {
    return NoRecord(absl::StrCat(bytes.size(), " bytes, not ", kRecordSize));
  }
  if (bytes.substr(0, kMagic.size()) != kMagic) return NoRecord("it does not begin as one");
  std::string_view rest = bytes.substr(kMagic.size());
  const auto next = [&rest](char end) {
    const std::string_view word = rest.substr(0, rest.find(end));
    rest.remove_prefix(std::min(word.size() + 1, rest.size()));
    return word;
  };
  std::uint64_t format = 0;
  if (!ParseNumber(next(' '), format)) return NoRecord("its format is no number");
  if (format != kFormat) return NoRecord(OtherVersion("format", format, kFormat));

  Framed framed;
  std::size_t size = 0;
  if (!ParseNumber(next(' '), framed.sequence) || !ParseNumber(next(' '), size)) {
    return NoRecord("its header is damaged");
  }
  if (size > kJsonLimit) return NoRecord("its length is beyond its end");
  framed.json = bytes.substr(kHeaderSize, size);
  // Compared as text, so that there is one way only to write a header.
  if (bytes.substr(0, kHeaderSize) != Header(framed.sequence, framed.json)) {
    return NoRecord("its checksum does not match");
  }
  rest = bytes.substr(kHeaderSize + size);
  if (rest.find_first_not_of(' ') != rest.size() - 1 || rest.back() != '\n') {
    return NoRecord("something follows it");
  }
  return framed;
}

// Reads the members of a JSON object. What is wrong first is kept in `status`, and all that is read
// after that is empty; what is read before the end is for nothing unless `status` is OK then.
class Members {
 public:
  Members(const json::object& object, absl::Status& status) : object_(object), status_(status) {}

  bool Has(std::string_view key) const { return object_.contains(key); }

  std::string Text(std::string_view key) {
    const json::value* value = Find(key);
    if (value == nullptr) return {};
    return TextOf(*value, key);
  }

  std::vector<std::string> Texts(std::string_view key) {
    const json::value* value = Find(key);
    if (value == nullptr) return {};
    if (!value->is_array()) return Fail<std::vector<std::string>>(key, "is no list");
    std::vector<std::string> texts;
    for (const json::value& element : value->get_array()) texts.push_back(TextOf(element, key));
    return texts;
  }

  std::uint64_t Number(std::string_view key,
                       std::uint64_t limit = std::numeric_limits<std::uint64_t>::max()) {
    const json::value* value = Find(key);
    if (value == nullptr) return 0;
    std::uint64_t number = 0;
    if (value->is_uint64()) {
      number = value->get_uint64();
    } else if (value->is_int64() && value->get_int64() >= 0) {
      number = static_cast<std::uint64_t>(value->get_int64());
    } else {
      return Fail<std::uint64_t>(key, "is no number of the kind");
    }
    return number <= limit ? number : Fail<std::uint64_t>(key, "is out of range");
  }

  ProcessIdentity Identity(std::string_view key) {
    const json::value* value = Find(key);
    if (value == nullptr) return {};
    if (!value->is_object()) return Fail<ProcessIdentity>(key, "is no object");
    Members members(value->get_object(), status_);
    ProcessIdentity identity;
    if (members.Has("machine")) identity.machine = members.Text("machine");
    identity.boot_id = members.Text("boot_id");
    identity.pid_namespace = members.Number("pid_namespace");
    identity.pid =
        static_cast<std::int64_t>(members.Number("pid", std::numeric_limits<std::int32_t>::max()));
    identity.start_ticks = members.Number("start_ticks");
    if (status_.ok() && identity.pid == 0) return Fail<ProcessIdentity>("pid", "is out of range");
    return identity;
  }

  RecordState State(std::string_view key) {
    const std::string text = Text(key);
    for (const RecordState state :
         {RecordState::kCandidate, RecordState::kEstablished, RecordState::kReleasing}) {
      if (text == ToString(state)) return state;
    }
    return Fail<RecordState>(key, "is none that is known");
  }

  absl::Time Time(std::string_view key) {
    const std::string text = Text(key);
    absl::Time time;
    std::string error;
    if (absl::ParseTime(absl::RFC3339_full, text, &time, &error)) return time;
    return Fail<absl::Time>(key, "is no time");
  }

 private:
  const json::value* Find(std::string_view key) {
    const json::value* value = object_.if_contains(key);
    if (value == nullptr) (void)Fail<int>(key, "is missing");
    return value;
  }

  std::string TextOf(const json::value& value, std::string_view key) {
    if (!value.is_string()) return Fail<std::string>(key, "is no text");
    return UnescapeBytes(std::string_view(value.get_string()));
  }

  template <typename Value>
  Value Fail(std::string_view key, std::string_view why) {
    if (status_.ok()) status_ = NoRecord(absl::StrCat(Absl(key), " ", Absl(why)));
    return {};
  }

  const json::object& object_;
  absl::Status& status_;
};

absl::StatusOr<HolderRecord> FromJson(std::string_view text) {
  std::array<unsigned char, 8192> buffer;
  json::monotonic_resource memory(buffer.data(), buffer.size());
  json::parse_options options;
  options.max_depth = 8;  // a record has 2
  json::error_code error;
  const json::value value = json::parse(text, error, &memory, options);
  if (error) return NoRecord(error.message());
  if (!value.is_object()) return NoRecord("its JSON is no object");

  absl::Status status;
  Members members(value.get_object(), status);
  const std::uint64_t schema = members.Number("schema");
  if (!status.ok()) return status;
  if (schema < kOldestSchema) return NoRecord(OtherVersion("schema", schema, kRecordSchema));

  HolderRecord record;
  record.schema = schema;
  record.state = members.State("state");
  record.name = members.Text("name");
  if (members.Has("slot")) {
    record.slot = static_cast<std::uint32_t>(
        members.Number("slot", std::numeric_limits<std::uint32_t>::max()));
  }
  record.scope = members.Text("scope");
  record.identity = members.Identity("identity");
  if (members.Has("instance")) record.instance = members.Identity("instance");
  record.token = members.Number("token");
  record.version = members.Text("version");
  if (record.is_newer()) {
    record.started = absl::InfinitePast();
    if (status.ok()) return record;
    return absl::DataLossError(
        absl::StrCat(status.message(), " (", OtherVersion("schema", schema, kRecordSchema), ")"));
  }
  if (members.Has("guardian")) record.guardian = members.Identity("guardian");
  record.hostname = members.Text("hostname");
  record.user = members.Text("user");
  record.executable = members.Text("executable");
  record.working_directory = members.Text("cwd");
  record.started = members.Time("started");
  record.policy = members.Text("policy");
  record.layers = members.Texts("layers");
  if (members.Has("messages")) record.takes_messages = members.Text("messages") != kNoMessages;
  if (!status.ok()) return status;
  return record;
}

}  // namespace

std::string_view ToString(RecordState state) {
  switch (state) {
    case RecordState::kCandidate:
      return "candidate";
    case RecordState::kEstablished:
      return "established";
    case RecordState::kReleasing:
      return "releasing";
  }
  return "invalid";
}

std::string NewerSoleguard(const HolderRecord& record) {
  return absl::StrCat("a newer soleguard (schema ", record.schema, ")");
}

std::string InfoText(const HolderRecord& record) {
  const std::string json = Json(record, TextsOf(record));
  return absl::StrCat("{\"pid\":", record.running().pid, ",\"timestamp\":\"", Stamp(record.started),
                      "\",", json.substr(1), "\n");
}

std::string EncodeRecord(const HolderRecord& record, std::uint64_t sequence) {
  std::string area;
  area.reserve(kRecordSize);
  if (const std::optional<std::string> text = FittingJson(record)) {
    area = Header(sequence, *text);
    area += *text;
  }
  area.resize(kRecordSize - 1, ' ');
  area += '\n';
  return area;
}

absl::StatusOr<DecodedRecord> DecodeRecord(std::string_view bytes) {
  constexpr std::string_view kBlanks("\0 \n", 3);
  if (bytes.size() <= kRecordSize && bytes.find_first_not_of(kBlanks) == std::string_view::npos) {
    return absl::NotFoundError("no holder record was written yet");
  }
  absl::StatusOr<Framed> framed = Unframe(bytes);
  if (!framed.ok()) return framed.status();
  absl::StatusOr<HolderRecord> record = FromJson(framed->json);
  if (!record.ok()) return record.status();
  return DecodedRecord{.record = *std::move(record), .sequence = framed->sequence};
}

}  // namespace soleguard
