// Included before every C++ file of llama.cpp: see _install.py.
//
// GCC 12 and others declare that _tile_loadconfig reads 8 bytes of its 64. So they leave out the
// stores of the rest, and llama.cpp dies in its first evaluation on a CPU with AMX (Intel's from
// Sapphire Rapids on). This one says what the instruction really reads. It changes nothing
// elsewhere.
#if defined(__cplusplus) && defined(__AMX_TILE__)
#include <immintrin.h>
#undef _tile_loadconfig
#define _tile_loadconfig(config) \
    __asm__ volatile("ldtilecfg %0" : : "m"(*(const char(*)[64])(config)))
#endif
