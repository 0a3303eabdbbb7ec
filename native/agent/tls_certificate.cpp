#include "tls_certificate.hpp"

#include <memory>
#include <openssl/bio.h>
#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/x509v3.h>

namespace agent {

namespace {

struct Freer {
    void operator()(EVP_PKEY* key) const { ::EVP_PKEY_free(key); }
    void operator()(X509* certificate) const { ::X509_free(certificate); }
    void operator()(X509_EXTENSION* extension) const { ::X509_EXTENSION_free(extension); }
    void operator()(BIO* bio) const { ::BIO_free(bio); }
    void operator()(ASN1_TIME* time) const { ::ASN1_TIME_free(time); }
};
template <class T> using Owned = std::unique_ptr<T, Freer>;

bool add_extension(X509* certificate, int kind, const std::string& value)
{
    X509V3_CTX context;
    X509V3_set_ctx_nodb(&context);
    X509V3_set_ctx(&context, certificate, certificate, nullptr, nullptr, 0);
    const Owned<X509_EXTENSION> extension(::X509V3_EXT_conf_nid(nullptr, &context, kind, value.c_str()));
    return extension && ::X509_add_ext(certificate, extension.get(), -1) == 1;
}

// A rack machine's clock may be years off, and the appliance's another's: the certificate lives for one boot and is
// pinned by the heartbeat, so its dates only must never be the reason for a refusal.
bool set_dates(X509* certificate)
{
    const Owned<ASN1_TIME> from(::ASN1_TIME_new());
    const Owned<ASN1_TIME> to(::ASN1_TIME_new());
    return ::ASN1_TIME_set_string_X509(from.get(), "20000101000000Z") == 1 && ::ASN1_TIME_set_string_X509(to.get(), "20491231235959Z") == 1 &&
           ::X509_set1_notBefore(certificate, from.get()) == 1 && ::X509_set1_notAfter(certificate, to.get()) == 1;
}

bool set_serial(X509* certificate)
{
    std::uint64_t serial = 0;
    return ::RAND_bytes(reinterpret_cast<unsigned char*>(&serial), sizeof serial) == 1 &&
           ::ASN1_INTEGER_set_uint64(::X509_get_serialNumber(certificate), serial >> 1) == 1;
}

bool set_names(X509* certificate, const std::string& name)
{
    X509_NAME* subject = ::X509_get_subject_name(certificate);
    return ::X509_NAME_add_entry_by_txt(subject, "CN", MBSTRING_UTF8, reinterpret_cast<const unsigned char*>(name.c_str()), -1, -1, 0) == 1 &&
           ::X509_set_issuer_name(certificate, subject) == 1;
}

std::string text_of(BIO* bio)
{
    char* data = nullptr;
    const long size = BIO_get_mem_data(bio, &data);
    return {data, static_cast<std::size_t>(size)};
}

}  // namespace

Result<TlsCertificate> make_tls_certificate(const std::string& address)
{
    const auto failed = [](const char* what) {
        const unsigned long code = ::ERR_get_error();
        return fail(FaultKind::internal, std::string("making the certificate: ") + what + ": " + ::ERR_error_string(code, nullptr));
    };
    const Owned<EVP_PKEY> key(EVP_EC_gen("P-256"));
    if (!key) {
        return failed("key");
    }
    const Owned<X509> certificate(::X509_new());
    X509* const x509 = certificate.get();
    if (!x509 || ::X509_set_version(x509, X509_VERSION_3) != 1 || !set_serial(x509) || !set_dates(x509) || !set_names(x509, "ironrack-agent") ||
        ::X509_set_pubkey(x509, key.get()) != 1) {
        return failed("fields");
    }
    // The peer takes the certificate as its own authority, so it must be allowed to sign itself.
    if (!add_extension(x509, NID_basic_constraints, "critical,CA:TRUE,pathlen:0") ||
        !add_extension(x509, NID_key_usage, "critical,digitalSignature,keyCertSign") || !add_extension(x509, NID_ext_key_usage, "serverAuth") ||
        !add_extension(x509, NID_subject_key_identifier, "hash") || !add_extension(x509, NID_subject_alt_name, "IP:" + address)) {
        return failed("extensions");
    }
    if (::X509_sign(x509, key.get(), ::EVP_sha256()) == 0) {
        return failed("signature");
    }
    const Owned<BIO> certificate_text(::BIO_new(::BIO_s_mem()));
    const Owned<BIO> key_text(::BIO_new(::BIO_s_mem()));
    if (::PEM_write_bio_X509(certificate_text.get(), x509) != 1 ||
        ::PEM_write_bio_PrivateKey(key_text.get(), key.get(), nullptr, nullptr, 0, nullptr, nullptr) != 1) {
        return failed("text");
    }
    return TlsCertificate{.certificate = text_of(certificate_text.get()), .key = text_of(key_text.get())};
}

}  // namespace agent
