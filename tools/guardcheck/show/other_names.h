// What somebody meant who asks of a name that nobody has.
#pragma once

#include <string>

#include "command.h"
#include "shown.h"

namespace guardcheck {

// Of a name that does not run: where nothing is recorded under it in the scope, says so, and which
// names there look like it or else which ones run. Empty where it has run before, or where the
// scope cannot be read. Takes no lock.
Shown OtherNamesText(const std::string& name, const Common& common);

}  // namespace guardcheck
