// Included before every C++ file of llama.cpp where it is built for Vulkan: see _install.py.
//
// llama.cpp names three C++ types of the extension VK_EXT_layer_settings, which older headers of
// Vulkan lack (1.3.239, in Debian 12). It passes them to the driver to turn on checks, so they must
// be laid out as the C types of the extension are. Where the headers have them this changes nothing.
#if defined(__cplusplus) && __has_include(<vulkan/vulkan_core.h>)
#include <vulkan/vulkan_core.h>
#ifndef VK_EXT_layer_settings
#include <cstdint>
#include <vector>
namespace vk {
enum class LayerSettingTypeEXT : std::int32_t { eBool32 = 0 };

struct LayerSettingEXT {
    const char * layer;
    const char * setting;
    LayerSettingTypeEXT type;
    std::uint32_t count;
    const void * values;
};

struct LayerSettingsCreateInfoEXT {
    explicit LayerSettingsCreateInfoEXT(const std::vector<LayerSettingEXT> & of)
        : count(static_cast<std::uint32_t>(of.size())), settings(of.data()) {}
    std::int32_t type = 1000496000;  // VK_STRUCTURE_TYPE_LAYER_SETTINGS_CREATE_INFO_EXT
    const void * next = nullptr;
    std::uint32_t count;
    const LayerSettingEXT * settings;
};
}  // namespace vk
#endif
#endif
