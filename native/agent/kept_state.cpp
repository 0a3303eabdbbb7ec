#include "kept_state.hpp"

#include "file.hpp"
#include "json_reader.hpp"

#include <cstdio>
#include <filesystem>

namespace agent {

KeptState load_kept_state(const std::string& path)
{
    KeptState state;
    const auto text = read_file(path);
    const auto document = text ? parse_json(*text) : Result<Json>(Json::object());
    if (!document) {
        return state;
    }
    const auto text_of = [&](const char* name) { return optional_text_field(*document, name).value_or(std::nullopt).value_or(""); };
    state.token = Secret(text_of("token"));
    state.node_uuid = text_of("node_uuid");
    state.inventory_reported = flag_field(*document, "inventory_reported", false).value_or(false);
    state.address = text_of("address");
    if (const std::string certificate = text_of("certificate"); !certificate.empty()) {
        state.certificate = TlsCertificate{.certificate = certificate, .key = text_of("key")};
    }
    return state;
}

void keep_state(const std::string& path, const KeptState& state, Log& log)
{
    Json document = {
        {"token", state.token.reveal()},
        {"node_uuid", state.node_uuid},
        {"inventory_reported", state.inventory_reported},
        {"address", state.address},
    };
    if (state.certificate) {
        document["certificate"] = state.certificate->certificate;
        document["key"] = state.certificate->key;
    }
    std::error_code ignored;
    std::filesystem::create_directories(std::filesystem::path(path).parent_path(), ignored);
    const std::string fresh = path + ".new";
    auto written = write_file(fresh, dump_json(document));  // made with mode 0600
    if (written && std::rename(fresh.c_str(), path.c_str()) != 0) {
        written = fail_errno("renaming " + fresh);
    }
    if (!written) {
        log.warn("state.not-kept", {{"reason", written.error().message}});
    }
}

}  // namespace agent
