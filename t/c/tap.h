/* Tests of the C ABI, for programs that print TAP. */
#include <stdio.h>
#include <string.h>

#include "rts3.h"

static int tests = 0, failed = 0;

static void ok(int good, const char *name)
{
    tests++;
    failed += !good;
    printf("%sok %d - %s\n", good ? "" : "not ", tests, name);
}

/* The call failed with this status, and its error says so and contains `text`. */
static void fails(rts3_status got, rts3_error **error, rts3_status expected, const char *text, const char *name)
{
    const char *message = rts3_error_message(*error);
    int good = got == expected && *error && rts3_error_status(*error) == expected && strstr(message, text)
               && !strchr(message, '\n');
    ok(good, name);
    if (!good)
        printf("# status %u (%s), message: %s\n", got, rts3_status_name(got), message);
    rts3_error_free(*error);
    *error = NULL;
}

static void succeeds(rts3_status got, rts3_error **error, const char *name)
{
    ok(got == RTS3_OK && *error == NULL, name);
    if (got != RTS3_OK)
        printf("# %s\n", rts3_error_message(*error));
    rts3_error_free(*error);
    *error = NULL;
}
