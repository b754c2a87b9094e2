# Debian 12's RE2 brings a pkg-config file and no CMake package. Defines re2::re2. With
# RE2_USE_STATIC_LIBS the archive is linked.
find_path(RE2_INCLUDE_DIR re2/re2.h)
if(RE2_USE_STATIC_LIBS)
  find_library(RE2_LIBRARY NAMES libre2.a re2)
else()
  find_library(RE2_LIBRARY NAMES re2)
endif()
mark_as_advanced(RE2_INCLUDE_DIR RE2_LIBRARY)

include(FindPackageHandleStandardArgs)
find_package_handle_standard_args(RE2 REQUIRED_VARS RE2_LIBRARY RE2_INCLUDE_DIR)

if(RE2_FOUND AND NOT TARGET re2::re2)
  find_package(Threads REQUIRED)
  add_library(re2::re2 UNKNOWN IMPORTED)
  set_target_properties(re2::re2 PROPERTIES
    IMPORTED_LOCATION "${RE2_LIBRARY}"
    INTERFACE_INCLUDE_DIRECTORIES "${RE2_INCLUDE_DIR}"
    INTERFACE_LINK_LIBRARIES Threads::Threads)
endif()
