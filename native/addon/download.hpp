// A download as a value of JavaScript.
#pragma once

#include <napi.h>

#include <memory>

#include "http/download.hpp"

namespace ironrack::addon {

/// The download that openDownload made; nothing when the value is anything else.
std::shared_ptr<http::Download> download_of(const Napi::Value& value);

}  // namespace ironrack::addon
