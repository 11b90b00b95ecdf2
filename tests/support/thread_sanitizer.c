/* SPDX-License-Identifier: MIT
 *
 * Linked into the programs when they are built with ThreadSanitizer. Its runtime makes a thread's note of pending signals at the
 * first blocking call of the thread; a signal that comes while it does is noted in another one, which is lost. The daemons
 * first block right after saying that they listen, which is when tests send signals. So block once, before there are handlers. */
#include <unistd.h>

__attribute__((constructor)) static void make_note_of_signals(void)
{
    (void)usleep(1);
}
