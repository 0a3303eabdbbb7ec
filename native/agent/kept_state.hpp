// What must outlive the agent's process within one boot of the machine: it is in memory (tmpfs), readable by root.
// The appliance gives a token once and remembers the certificate; an agent that died and was started again needs both.
#pragma once

#include "log.hpp"
#include "secret.hpp"
#include "tls_certificate.hpp"

#include <optional>
#include <string>

namespace agent {

struct KeptState {
    Secret token;
    std::string node_uuid;
    bool inventory_reported = false;
    std::string address;  // for which the certificate was made
    std::optional<TlsCertificate> certificate;
};

// Empty if there is none or it cannot be read.
KeptState load_kept_state(const std::string& path);

// A failure is logged and otherwise without effect: the agent works on, and only its next start will miss it.
void keep_state(const std::string& path, const KeptState& state, Log& log);

}  // namespace agent
