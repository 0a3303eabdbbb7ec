#include "http/curl_library.hpp"

#include <dlfcn.h>

namespace ironrack::http {
namespace {

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr int kApart = 0;  // the sanitizers cannot follow, and their programs export no OpenSSL
#else
// Its own libraries come before the program's: node's OpenSSL has the same names and another layout.
constexpr int kApart = RTLD_DEEPBIND;
#endif

template <typename Function>
bool find(void* library, const char* name, Function& function) {
  function = reinterpret_cast<Function>(::dlsym(library, name));
  return function != nullptr;
}

Result<CurlLibrary> open() {
  void* library = ::dlopen("libcurl.so.4", RTLD_NOW | RTLD_LOCAL | kApart);
  if (library == nullptr) return fail(FaultKind::unsupported, "image.no-curl", "images can only be downloaded with libcurl: install the package libcurl4");
  CurlLibrary curl;
  const bool whole = find(library, "curl_global_init", curl.global_init) && find(library, "curl_easy_init", curl.easy_init) && find(library, "curl_easy_setopt", curl.easy_setopt) &&
                     find(library, "curl_easy_getinfo", curl.easy_getinfo) && find(library, "curl_easy_strerror", curl.easy_strerror) && find(library, "curl_easy_cleanup", curl.easy_cleanup) &&
                     find(library, "curl_slist_append", curl.slist_append) && find(library, "curl_slist_free_all", curl.slist_free_all) && find(library, "curl_multi_init", curl.multi_init) &&
                     find(library, "curl_multi_add_handle", curl.multi_add_handle) && find(library, "curl_multi_remove_handle", curl.multi_remove_handle) &&
                     find(library, "curl_multi_perform", curl.multi_perform) && find(library, "curl_multi_poll", curl.multi_poll) && find(library, "curl_multi_info_read", curl.multi_info_read) &&
                     find(library, "curl_multi_cleanup", curl.multi_cleanup);
  if (!whole || curl.global_init(CURL_GLOBAL_ALL) != CURLE_OK) return fail(FaultKind::unsupported, "image.no-curl", "the libcurl of this system is too old: 7.85 is needed");
  return curl;  // never unloaded: its threads and its OpenSSL outlive any use
}

}  // namespace

Result<const CurlLibrary*> CurlLibrary::load() {
  static const auto library = open();
  if (!library) return std::unexpected(library.error());
  return &*library;
}

}  // namespace ironrack::http
