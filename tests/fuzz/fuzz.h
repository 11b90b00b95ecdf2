/* SPDX-License-Identifier: MIT
 *
 * A fuzz target is one function that must hold for any bytes. With clang and the preset `fuzz` libFuzzer calls it; in every
 * other build main.c feeds it the corpus in the tree. What must not be is an abort (CHECK), a sanitizer's report, or a
 * hang. */
#ifndef FUZZ_FUZZ_H
#define FUZZ_FUZZ_H

#include <stddef.h>
#include <stdint.h>

/* The name is libFuzzer's. Returns 0. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Input as a program of small choices: bytes are taken from the front; zeros when there are no more. */
struct fuzz_input {
    const uint8_t *at;
    size_t left;
};

static inline uint32_t fuzz_take(struct fuzz_input *in, unsigned bytes)
{
    uint32_t value = 0;

    while (bytes-- > 0) {
        value <<= 8;
        if (in->left > 0) {
            value |= *in->at++;
            in->left--;
        }
    }
    return value;
}

#endif
