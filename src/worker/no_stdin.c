/*-------------------------------------------------------------------------
 *
 * no_stdin.c
 *      Lets a static jansson that was built for programs be part of
 *      patroni_worker.so.
 *
 * Debian builds libjansson.a as position independent code for programs, not
 * for libraries.  All of it can be linked into a library, but for one mention
 * of the C library's variable "stdin" in json_loadf(), which the linker would
 * have to copy into the library.  With -Wl,--wrap=stdin it finds this variable
 * instead.  Nothing here calls json_loadf(), and a worker has no stdin.
 *-------------------------------------------------------------------------
 */
#include <stdio.h>

extern FILE *__wrap_stdin __attribute__((visibility("hidden")));

FILE	   *__wrap_stdin = NULL;
