// The agent's own certificate, made at start; the appliance learns it from the heartbeat (agent_verify_ca).
#pragma once

#include "fault.hpp"

#include <string>

namespace agent {

struct TlsCertificate {
    std::string certificate;  // PEM
    std::string key;          // PEM; never leaves the process
};

// Self-signed, ECDSA P-256, for one IP address.
Result<TlsCertificate> make_tls_certificate(const std::string& address);

}  // namespace agent
