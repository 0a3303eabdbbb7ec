// Message digests over OpenSSL's EVP: of image files, and for CHAP.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "bytes/endian.hpp"
#include "bytes/fault.hpp"

struct evp_md_ctx_st;

namespace ironrack {

class Hasher {
 public:
  /// `algorithm` is md5, sha1, sha256, sha512 or sha3-256.
  static Result<Hasher> create(std::string_view algorithm);

  void update(ByteSpan bytes);
  /// Ends the computation; the hasher is spent.
  std::vector<std::byte> finish();

 private:
  struct Free {
    void operator()(evp_md_ctx_st* context) const;
  };
  explicit Hasher(evp_md_ctx_st* context) : context_(context) {}
  std::unique_ptr<evp_md_ctx_st, Free> context_;
};

std::string to_hex(ByteSpan bytes);

}  // namespace ironrack
