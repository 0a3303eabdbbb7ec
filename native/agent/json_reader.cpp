#include "json_reader.hpp"

namespace agent {

namespace {

constexpr int deepest = 64;

bool is_shallow(std::string_view text)
{
    int depth = 0;
    bool in_string = false;
    for (std::size_t i = 0; i < text.size(); ++i) {
        const char c = text[i];
        if (in_string) {
            if (c == '\\') {
                ++i;
            } else if (c == '"') {
                in_string = false;
            }
        } else if (c == '"') {
            in_string = true;
        } else if (c == '[' || c == '{') {
            if (++depth > deepest) {
                return false;
            }
        } else if (c == ']' || c == '}') {
            --depth;
        }
    }
    return true;
}

const Json* find(const Json& object, std::string_view name)
{
    if (!object.is_object()) {
        return nullptr;
    }
    const auto at = object.find(name);
    return at == object.end() || at->is_null() ? nullptr : &*at;
}

std::unexpected<Fault> wrong_type(std::string_view name, const char* wanted)
{
    return fail(FaultKind::invalid, "field '" + std::string(name) + "' must be " + wanted);
}

}  // namespace

Result<Json> parse_json(std::string_view text)
{
    if (!is_shallow(text)) {
        return fail(FaultKind::malformed, "JSON is nested too deeply");
    }
    Json document = Json::parse(text, nullptr, false);
    if (document.is_discarded()) {
        return fail(FaultKind::malformed, "not JSON");
    }
    return document;
}

std::string dump_json(const Json& document) { return document.dump(-1, ' ', false, Json::error_handler_t::replace); }

Result<std::string> text_field(const Json& object, std::string_view name)
{
    auto text = optional_text_field(object, name);
    if (!text) {
        return std::unexpected(text.error());
    }
    if (!*text) {
        return fail(FaultKind::invalid, "field '" + std::string(name) + "' is missing");
    }
    return std::move(**text);
}

Result<std::optional<std::string>> optional_text_field(const Json& object, std::string_view name)
{
    const Json* value = find(object, name);
    if (value == nullptr) {
        return std::nullopt;
    }
    if (!value->is_string()) {
        return wrong_type(name, "a string");
    }
    return value->get<std::string>();
}

Result<bool> flag_field(const Json& object, std::string_view name, bool otherwise)
{
    const Json* value = find(object, name);
    if (value == nullptr) {
        return otherwise;
    }
    if (!value->is_boolean()) {
        return wrong_type(name, "true or false");
    }
    return value->get<bool>();
}

Result<std::int64_t> number_field(const Json& object, std::string_view name, std::int64_t otherwise, std::int64_t least, std::int64_t most)
{
    const Json* value = find(object, name);
    if (value == nullptr) {
        return otherwise;
    }
    const std::string range = "a whole number from " + std::to_string(least) + " to " + std::to_string(most);
    if (!value->is_number_integer()) {
        return wrong_type(name, range.c_str());
    }
    if (value->is_number_unsigned() && value->get<std::uint64_t>() > static_cast<std::uint64_t>(INT64_MAX)) {
        return wrong_type(name, range.c_str());
    }
    const auto number = value->get<std::int64_t>();
    if (number < least || number > most) {
        return wrong_type(name, range.c_str());
    }
    return number;
}

Result<Json> object_field(const Json& object, std::string_view name)
{
    const Json* value = find(object, name);
    if (value == nullptr) {
        return Json::object();
    }
    if (!value->is_object()) {
        return wrong_type(name, "an object");
    }
    return *value;
}

}  // namespace agent
