/* SPDX-License-Identifier: MIT */
#include <assert.h>
#include <cpuid.h>
#include <intel-ipsec-mb.h>
#include <pthread.h>
#include <sodium.h>

#include "core/aead_aes.h"

static_assert(sizeof(struct gcm_key_data) <= sizeof(union aead_aes_key), "room for an expanded key");

/* What is used of the library's manager: its choice for this processor. They need no manager when they are called. (Version 1.3
 * clears its `imb_errno`, one for the whole process, at each call; nobody here reads that.) */
static aes_gcm_pre_t gcm_expand;
static aes_gcm_enc_dec_t gcm_seal, gcm_open;

static void expand(union aead_aes_key *expanded, const uint8_t key[static AEAD_KEY_BYTES])
{
    gcm_expand(key, (struct gcm_key_data *)(void *)expanded);
}

static void seal(const union aead_aes_key *expanded, const uint8_t nonce[static AEAD_NONCE_BYTES], const uint8_t *in,
                 size_t len, uint8_t *out)
{
    struct gcm_context_data context;
    if (len > INT32_MAX) { /* no record is; but what is too long it would leave as it is, and say so nowhere */
        sodium_memzero(out, len + AEAD_TAG_BYTES);
        return;
    }
    gcm_seal((const struct gcm_key_data *)(const void *)expanded, &context, out, in, len, nonce, NULL, 0, out + len,
             AEAD_TAG_BYTES);
}

static bool open(const union aead_aes_key *expanded, const uint8_t nonce[static AEAD_NONCE_BYTES], const uint8_t *in,
                 size_t len, uint8_t *out)
{
    struct gcm_context_data context;
    uint8_t tag[AEAD_TAG_BYTES];
    size_t text_len = len - AEAD_TAG_BYTES;
    for (size_t i = 0; i < sizeof tag; i++)
        tag[i] = (uint8_t)~in[text_len + i]; /* a call that does nothing must not look like one that agrees */
    gcm_open((const struct gcm_key_data *)(const void *)expanded, &context, out, in, text_len, nonce, NULL, 0, tag,
             sizeof tag);
    if (sodium_memcmp(tag, in + text_len, sizeof tag) == 0)
        return true;
    sodium_memzero(tag, sizeof tag); /* a forger would like to know what it should have been */
    sodium_memzero(out, text_len);   /* it deciphers before it knows the tag */
    return false;
}

static const struct aead_aes ipsecmb = {
    .name = "libipsec-mb " IMB_VERSION_STR,
    .bulk = true,
    .expand = expand,
    .seal = seal,
    .open = open,
};

static const struct aead_aes *chosen;

/* Whether the processor has the wide instructions and the system saves their registers. The library asks only the processor,
 * and tries them out at once: on a system that has turned them off it would end the process. */
static bool is_wide(void)
{
    enum {
        REGISTERS = 0xe6, /* in XCR0: SSE, AVX, and the three parts of AVX-512 */
        VAES = 1 << 9,
        VPCLMULQDQ = 1 << 10, /* both in ecx of leaf 7 */
    };
    const unsigned avx512 = bit_AVX512F | bit_AVX512DQ | bit_AVX512CD | bit_AVX512BW | bit_AVX512VL;
    unsigned a = 0, b = 0, c = 0, d = 0;
    if (!__get_cpuid(1, &a, &b, &c, &d) || (c & bit_OSXSAVE) == 0)
        return false;
    if (!__get_cpuid_count(7, 0, &a, &b, &c, &d) || (b & avx512) != avx512 || (c & VAES) == 0 || (c & VPCLMULQDQ) == 0)
        return false;
    __asm__("xgetbv" : "=a"(a), "=d"(d) : "c"(0));
    return (a & REGISTERS) == REGISTERS;
}

/* Without the wide instructions it is no faster than the others. SAFE_DATA: a build that leaves nothing of keys and text in
 * registers and on the stack. The manager's start includes known-answer tests. */
static void choose(void)
{
    const uint64_t wanted = IMB_FEATURE_AVX512_SKX | IMB_FEATURE_VAES | IMB_FEATURE_VPCLMULQDQ | IMB_FEATURE_SAFE_DATA |
                            IMB_FEATURE_SELF_TEST_PASS;
    IMB_MGR *manager = is_wide() ? alloc_mb_mgr(0) : NULL;
    if (!manager)
        return;
    init_mb_mgr_auto(manager, NULL);
    if (imb_get_errno(manager) == 0 && (manager->features & wanted) == wanted) {
        gcm_expand = manager->gcm256_pre;
        gcm_seal = manager->gcm256_enc;
        gcm_open = manager->gcm256_dec;
        chosen = &ipsecmb;
    }
    free_mb_mgr(manager);
}

const struct aead_aes *aead_aes_ipsecmb(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    (void)pthread_once(&once, choose); /* fails only for what is not a pthread_once_t */
    return chosen;
}
