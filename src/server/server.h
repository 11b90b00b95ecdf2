/* SPDX-License-Identifier: MIT
 *
 * The server as a whole: workers, where they get their connections from, signals, reload, shutting down, and what systemd is
 * told. */
#ifndef SERVER_SERVER_H
#define SERVER_SERVER_H

/* Runs until it is told to stop; `path` is the configuration (NULL: the default one). Logs what goes wrong. Returns the
 * sysexits(3) code to exit with. */
int server_run(const char *path);

#endif
