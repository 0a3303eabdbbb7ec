// flock(2) on a file that serves only as the lock. LevelDB's own fcntl lock is lost as soon as any descriptor of its LOCK file
// is closed in the same process; this one belongs to the open file and ends with the process, also after kill -9.
#include <fcntl.h>
#include <sys/file.h>

#include <cerrno>
#include <memory>

#include "addon/functions.hpp"
#include "addon/system_error.hpp"
#include "bytes/unique_fd.hpp"

namespace ironrack::addon {

Napi::Value lock_file(const Napi::CallbackInfo& info) {
  const auto env = info.Env();
  if (!info[0].IsString()) {
    Napi::TypeError::New(env, "path must be a string").ThrowAsJavaScriptException();
    return env.Undefined();
  }
  const auto path = info[0].As<Napi::String>().Utf8Value();
  UniqueFd fd(::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600));
  if (!fd) return throw_system_error(env, "open", errno);
  if (::flock(fd.get(), LOCK_EX | LOCK_NB) != 0) {
    if (errno == EWOULDBLOCK) return Napi::Boolean::New(env, false);
    return throw_system_error(env, "flock", errno);
  }
  // A handle that is collected must not give the lock away: only release() closes the descriptor.
  const int held = fd.release();
  auto handle = Napi::Object::New(env);
  handle.Set("release", Napi::Function::New(env, [held, released = false](const Napi::CallbackInfo& call) mutable {
    if (!released) ::close(held);
    released = true;
    return call.Env().Undefined();
  }, "release"));
  return handle;
}

}  // namespace ironrack::addon
