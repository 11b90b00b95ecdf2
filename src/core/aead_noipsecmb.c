/* SPDX-License-Identifier: MIT
 *
 * A build without libipsec-mb. */
#include "core/aead_aes.h"

const struct aead_aes *aead_aes_ipsecmb(void)
{
    return NULL;
}
