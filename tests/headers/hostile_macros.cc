// The installed headers after those of other libraries, whose macros have the names of common
// words. Each macro here expands to what compiles nowhere: an installed header that says the word
// does not compile. The standard and Abseil headers are included before, as their words are not
// soleguard's.
//
// Not here, because nothing in soleguard could help it:
//   Status (Xlib.h)         the type that nearly all calls return is absl::Status. Include
//   soleguard
//                           before Xlib.h, or #undef Status behind it.
//   move (curses.h)         is std::move; so <utility> does not survive it either. curses.h has
//                           NCURSES_NOMACROS.
#include <algorithm>
#include <cerrno>
#include <chrono>
#include <compare>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <stop_token>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include <absl/status/status.h>
#include <absl/status/statusor.h>
#include <absl/strings/str_cat.h>
#include <absl/time/time.h>

// Qt (qobjectdefs.h, qtmetamacros.h, qforeach.h)
#define signals @Qt
#define slots @Qt
#define emit @Qt
#define foreach(variable, container) @Qt
#define forever @Qt

// GLib and GTK (gmacros.h)
#define TRUE @GLib
#define FALSE @GLib
#define MIN(a, b) @GLib
#define MAX(a, b) @GLib
#define ABS(a) @GLib
#define CLAMP(x, low, high) @GLib

// X11 (X.h, Xlib.h, Xutil.h)
#define Above @X11
#define AllocAll @X11
#define AllValues @X11
#define Always @X11
#define BadAccess @X11
#define BadName @X11
#define BadRequest @X11
#define BadValue @X11
#define Below @X11
#define Bool @X11
#define ButtonPress @X11
#define ClientMessage @X11
#define Complex @X11
#define Convex @X11
#define CurrentTime @X11
#define CursorShape @X11
#define DestroyAll @X11
#define DestroyNotify @X11
#define DirectColor @X11
#define DoBlue @X11
#define EnterNotify @X11
#define EvenOddRule @X11
#define Expose @X11
#define False @X11
#define FillSolid @X11
#define FocusIn @X11
#define FocusOut @X11
#define GXcopy @X11
#define InputOnly @X11
#define InputOutput @X11
#define IsViewable @X11
#define KeyPress @X11
#define KeyRelease @X11
#define LineSolid @X11
#define LockMask @X11
#define MapNotify @X11
#define MapRequest @X11
#define MotionNotify @X11
#define NoSymbol @X11
#define NoValue @X11
#define Nonconvex @X11
#define None @X11
#define NormalState @X11
#define NotUseful @X11
#define Opposite @X11
#define ParentRelative @X11
#define PropertyNotify @X11
#define PropertyDelete @X11
#define QueuedAlready @X11
#define ReparentNotify @X11
#define RetainPermanent @X11
#define RetainTemporary @X11
#define ScreenSaverReset @X11
#define SelectionClear @X11
#define StaticColor @X11
#define Success @X11
#define True @X11
#define UnmapNotify @X11
#define Unsorted @X11
#define WhenMapped @X11
#define YSorted @X11

// Windows (windef.h, winuser.h, winbase.h, wingdi.h, winerror.h)
#define min(a, b) @Windows
#define max(a, b) @Windows
#define near @Windows
#define far @Windows
#define small @Windows
#define hyper @Windows
#define interface @Windows
#define pascal @Windows
#define cdecl @Windows
#define IN @Windows
#define OUT @Windows
#define OPTIONAL @Windows
#define ERROR @Windows
#define NO_ERROR @Windows
#define CONST @Windows
#define VOID @Windows
#define DELETE @Windows
#define STRICT @Windows
#define THIS @Windows
#define IGNORE @Windows
#define INFINITE @Windows
#define RELATIVE @Windows
#define ABSOLUTE @Windows
#define TRANSPARENT @Windows
#define OPAQUE @Windows
#define CopyFile @Windows
#define CreateDirectory @Windows
#define CreateEvent @Windows
#define CreateFile @Windows
#define CreateMutex @Windows
#define CreateProcess @Windows
#define CreateSemaphore @Windows
#define CreateWindow @Windows
#define DeleteFile @Windows
#define DrawText @Windows
#define FindText @Windows
#define FormatMessage @Windows
#define GetClassName @Windows
#define GetCommandLine @Windows
#define GetComputerName @Windows
#define GetCurrentTime() @Windows
#define GetFreeSpace(which) @Windows
#define GetMessage @Windows
#define GetObject @Windows
#define GetProp @Windows
#define GetTempFileName @Windows
#define GetUserName @Windows
#define LoadString @Windows
#define MoveFile @Windows
#define OpenEvent @Windows
#define OpenMutex @Windows
#define PostMessage @Windows
#define RegisterClass @Windows
#define ReplaceFile @Windows
#define ReportEvent @Windows
#define SendMessage @Windows
#define StartService @Windows
#define Yield() @Windows

// Arduino (Arduino.h, binary.h)
#define F(literal) @Arduino
#define B0 @Arduino
#define B1 @Arduino
#define B01 @Arduino
#define HIGH @Arduino
#define LOW @Arduino
#define INPUT @Arduino
#define OUTPUT @Arduino
#define CHANGE @Arduino
#define RISING @Arduino
#define FALLING @Arduino
#define DEFAULT @Arduino
#define INTERNAL @Arduino
#define EXTERNAL @Arduino
#define DEC @Arduino
#define HEX @Arduino
#define OCT @Arduino
#define BIN @Arduino
#define PI @Arduino
#define abs(x) @Arduino
#define round(x) @Arduino
#define sq(x) @Arduino
#define constrain(x, low, high) @Arduino
#define bit(b) @Arduino
#define interrupts() @Arduino

// curses.h, PostgreSQL's c.h, gettext's usual shorthand, <sys/sysmacros.h>, the GNU dialects
#define OK @curses
#define ERR @curses
#define clear() @curses
#define erase() @curses
#define refresh() @curses
#define timeout(delay) @curses
#define Min(a, b) @PostgreSQL
#define Max(a, b) @PostgreSQL
#define Assert(condition) @PostgreSQL
#define _(text) @gettext
#define major(device) @sysmacros
#define minor(device) @sysmacros
#undef linux
#define linux @GNU
#undef unix
#define unix @GNU

// glog, GoogleTest, Catch and the like
#define CHECK(condition) @glog
#define LOG(severity) @glog
#define INFO @glog
#define FAIL() @GoogleTest
#define SUCCEED() @GoogleTest
#define REQUIRE(condition) @Catch
#define SECTION(name) @Catch
#define check(condition) @AssertMacros
#define verify(condition) @AssertMacros
#define require(condition, label) @AssertMacros
#define nil @Objective - C
#define YES @Objective - C
#define NO @Objective - C

#include "installed_headers.inc"  // of all file sets that are installed
