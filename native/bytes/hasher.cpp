#include "bytes/hasher.hpp"

#include <openssl/evp.h>

namespace ironrack {

void Hasher::Free::operator()(evp_md_ctx_st* context) const { EVP_MD_CTX_free(context); }

Result<Hasher> Hasher::create(std::string_view algorithm) {
  const EVP_MD* digest = nullptr;
  if (algorithm == "md5") digest = EVP_md5();
  else if (algorithm == "sha1") digest = EVP_sha1();
  else if (algorithm == "sha256") digest = EVP_sha256();
  else if (algorithm == "sha512") digest = EVP_sha512();
  else if (algorithm == "sha3-256") digest = EVP_sha3_256();
  if (digest == nullptr) {
    return fail(FaultKind::unsupported, "digest.unknown", "no digest named " + std::string(algorithm));
  }
  Hasher hasher(EVP_MD_CTX_new());
  if (!hasher.context_ || EVP_DigestInit_ex(hasher.context_.get(), digest, nullptr) != 1) {
    return fail(FaultKind::internal, "digest.failed", "the digest " + std::string(algorithm) + " cannot be computed here");
  }
  return hasher;
}

void Hasher::update(ByteSpan bytes) { EVP_DigestUpdate(context_.get(), bytes.data(), bytes.size()); }

std::vector<std::byte> Hasher::finish() {
  std::vector<std::byte> digest(EVP_MAX_MD_SIZE);
  unsigned length = 0;
  EVP_DigestFinal_ex(context_.get(), reinterpret_cast<unsigned char*>(digest.data()), &length);
  digest.resize(length);
  return digest;
}

std::string to_hex(ByteSpan bytes) {
  static constexpr char kDigits[] = "0123456789abcdef";
  std::string text;
  text.reserve(bytes.size() * 2);
  for (const auto byte : bytes) {
    text += kDigits[static_cast<unsigned>(byte) >> 4];
    text += kDigits[static_cast<unsigned>(byte) & 15];
  }
  return text;
}

}  // namespace ironrack
