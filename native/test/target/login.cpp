// The login phase of the test target.
#include <openssl/evp.h>

#include <algorithm>
#include <cstring>

#include "test/target/connection.hpp"
#include "test/target/wire.hpp"

namespace target {
namespace {

std::string digest(const std::string& name, unsigned char identifier, const std::string& secret, const std::string& challenge) {
  unsigned char out[EVP_MAX_MD_SIZE];
  unsigned size = 0;
  const std::string input = std::string(1, static_cast<char>(identifier)) + secret + challenge;
  EVP_Digest(input.data(), input.size(), out, &size, EVP_get_digestbyname(name.c_str()), nullptr);
  return {reinterpret_cast<char*>(out), size};
}

std::string hex(const std::string& bytes) {
  std::string out = "0x";
  for (const unsigned char byte : bytes) {
    out += "0123456789abcdef"[byte >> 4];
    out += "0123456789abcdef"[byte & 15];
  }
  return out;
}

std::string unhex(const std::string& text) {
  std::string out;
  for (std::size_t i = 2; i + 1 < text.size(); i += 2) out += static_cast<char>(std::stoi(text.substr(i, 2), nullptr, 16));
  return out;
}

const std::map<std::string, std::string> kChapDigests = {{"5", "MD5"}, {"6", "SHA1"}, {"7", "SHA256"}, {"8", "SHA3-256"}};

}  // namespace

void Connection::login() {
  std::string algorithm;
  std::string challenge;
  std::string name;
  bool proven = options_.chap_user.empty();
  while (true) {
    fill(48);
    unsigned char header[48];
    take(header, 48);
    if ((header[0] & 0x3f) != 0x03) throw Gone{};
    const auto length = get24(header + 5);
    std::string text(length, 0);
    take(reinterpret_cast<unsigned char*>(text.data()), length);
    discard(-length & 3u);
    exp_cmd_sn_ = get32(header + 24);
    std::map<std::string, std::string> keys;
    for (std::size_t at = 0; at < text.size();) {
      const auto end = text.find('\0', at);
      const auto pair = text.substr(at, end - at);
      at = end == std::string::npos ? text.size() : end + 1;
      if (const auto equals = pair.find('='); equals != std::string::npos) keys[pair.substr(0, equals)] = pair.substr(equals + 1);
    }
    std::string answer;
    const auto say = [&](const std::string& key, const std::string& value) { answer += key + "=" + value + '\0'; };
    const auto least = [&](const char* key, std::uint32_t ours) {
      if (!keys.contains(key)) return ours;
      const auto result = std::min(ours, static_cast<std::uint32_t>(std::stoul(keys[key])));
      say(key, std::to_string(result));
      return result;
    };
    const int stage = header[1] >> 2 & 3;
    const int next = header[1] & 3;
    bool transit = (header[1] & 0x80) != 0;
    unsigned char status_class = 0;
    unsigned char status_detail = 0;
    if (keys.contains("TargetName")) name = keys["TargetName"];
    if (!options_.redirect.empty()) {
      status_class = 1;
      status_detail = 1;
      say("TargetAddress", options_.redirect);
      transit = false;
    } else if (stage == 0) {
      if (keys.contains("AuthMethod")) {
        const bool chap = !proven && keys["AuthMethod"].find("CHAP") != std::string::npos;
        if (!proven && !chap) {
          status_class = 2;
          status_detail = 1;
        }
        say("AuthMethod", chap ? "CHAP" : "None");
        if (chap) transit = false;
      } else if (keys.contains("CHAP_A")) {
        const std::string list = "," + keys["CHAP_A"] + ",";
        algorithm = options_.chap_algorithm.empty() ? keys["CHAP_A"].substr(0, keys["CHAP_A"].find(',')) : options_.chap_algorithm;
        if (list.find("," + algorithm + ",") == std::string::npos) throw Gone{};
        for (int i = 0; i < 24; i++) challenge += static_cast<char>(std::rand());
        say("CHAP_A", algorithm);
        say("CHAP_I", "77");
        say("CHAP_C", hex(challenge));
        transit = false;
      } else if (keys.contains("CHAP_R")) {
        proven = keys["CHAP_N"] == options_.chap_user && unhex(keys["CHAP_R"]) == digest(kChapDigests.at(algorithm), 77, options_.chap_secret, challenge);
        if (!proven) {
          status_class = 2;
          status_detail = 1;
        } else if (keys.contains("CHAP_C")) {
          say("CHAP_N", options_.mutual_user);
          say("CHAP_R", hex(digest(kChapDigests.at(algorithm), static_cast<unsigned char>(std::stoi(keys["CHAP_I"])), options_.mutual_secret, unhex(keys["CHAP_C"]))));
        }
      }
    } else {
      if (!proven) {
        status_class = 2;
        status_detail = 1;
      }
      for (const char* key : {"HeaderDigest", "DataDigest"}) {
        if (!keys.contains(key)) continue;
        const bool use = options_.digests && keys[key].find("CRC32C") != std::string::npos;
        say(key, use ? "CRC32C" : "None");
      }
      if (keys.contains("MaxRecvDataSegmentLength")) {
        initiator_segment_ = static_cast<std::uint32_t>(std::stoul(keys["MaxRecvDataSegmentLength"]));
        say("MaxRecvDataSegmentLength", std::to_string(options_.max_recv_data_segment_length));
      }
      max_burst_ = least("MaxBurstLength", options_.max_burst_length);
      first_burst_ = std::min(max_burst_, least("FirstBurstLength", options_.first_burst_length));
      max_r2t_ = least("MaxOutstandingR2T", options_.max_outstanding_r2t);
      if (keys.contains("InitialR2T")) {
        initial_r2t_ = options_.initial_r2t || keys["InitialR2T"] == "Yes";
        say("InitialR2T", initial_r2t_ ? "Yes" : "No");
      }
      if (keys.contains("ImmediateData")) say("ImmediateData", options_.immediate_data && keys["ImmediateData"] == "Yes" ? "Yes" : "No");
      if (keys.contains("ErrorRecoveryLevel")) say("ErrorRecoveryLevel", "0");
      if (keys.contains("DefaultTime2Wait")) say("DefaultTime2Wait", "2");
      if (keys.contains("DefaultTime2Retain")) say("DefaultTime2Retain", "0");
      if (keys.contains("MaxConnections")) say("MaxConnections", "1");
    }
    unsigned char out[48] = {0x23, static_cast<unsigned char>((transit ? 0x80 : 0) | stage << 2 | (transit ? next : 0))};
    put24(out + 5, static_cast<std::uint32_t>(answer.size()));
    std::memcpy(out + 8, header + 8, 6);
    out[15] = transit && next == 3 ? 1 : 0;
    std::memcpy(out + 16, header + 16, 4);
    window(out, true);
    out[36] = status_class;
    out[37] = status_detail;
    put(out, reinterpret_cast<const unsigned char*>(answer.data()), answer.size());
    flush();
    if (status_class != 0) throw Gone{};
    if (transit && next == 3) {
      header_digest_ = options_.digests && keys.contains("HeaderDigest") && keys["HeaderDigest"].find("CRC32C") != std::string::npos;
      data_digest_ = options_.digests && keys.contains("DataDigest") && keys["DataDigest"].find("CRC32C") != std::string::npos;
      break;
    }
  }
  unit_attentions_ = options_.unit_attentions;
  disk_ = &shared_.disks.open(options_.store.empty() || name.empty() ? "" : options_.store + "/" + name.substr(name.rfind(':') + 1) + ".img", options_.cache);
  if (!options_.store.empty() && !name.empty() && !disk_->keeps()) throw Gone{};
}

}  // namespace target
