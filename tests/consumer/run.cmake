# cmake -D... -P run.cmake: installs BUILD_TREE into a fresh prefix, then configures, builds and runs
# the consumer against it. Everything happens below WORK, which is emptied first.
cmake_minimum_required(VERSION 3.25)

function(step)
  list(JOIN ARGV " " line)
  message(STATUS "${line}")
  execute_process(COMMAND ${ARGV} COMMAND_ERROR_IS_FATAL ANY)
endfunction()

file(REMOVE_RECURSE "${WORK}")
file(MAKE_DIRECTORY "${WORK}/scope")

step("${CMAKE_COMMAND}" --install "${BUILD_TREE}" --config "${CONFIG}" --prefix "${WORK}/prefix")
if(EXISTS "${BUILD_TREE}/bin/guardcheck" AND NOT EXISTS "${WORK}/prefix/bin/guardcheck")
  message(FATAL_ERROR "guardcheck was built but not installed")
endif()

list(JOIN FLAGS " " flags)
step("${CMAKE_COMMAND}" -S "${SOURCE}" -B "${WORK}/build" -G "${GENERATOR}"
  "-DCMAKE_MAKE_PROGRAM=${MAKE_PROGRAM}"
  "-DCMAKE_BUILD_TYPE=${CONFIG}"
  "-DCMAKE_CXX_COMPILER=${COMPILER}"
  "-DCMAKE_CXX_COMPILER_LAUNCHER=${COMPILER_LAUNCHER}"
  "-DCMAKE_CXX_FLAGS=${flags}"
  "-DCMAKE_PREFIX_PATH=${WORK}/prefix"
  -DCMAKE_FIND_USE_PACKAGE_REGISTRY=OFF)
step("${CMAKE_COMMAND}" --build "${WORK}/build" --config "${CONFIG}")

# A multi-configuration generator puts the program one level deeper.
find_program(consumer consumer PATHS "${WORK}/build" "${WORK}/build/${CONFIG}"
  NO_DEFAULT_PATH NO_CACHE REQUIRED)
step(${TEST_LAUNCHER} "${consumer}" "${WORK}/scope")
