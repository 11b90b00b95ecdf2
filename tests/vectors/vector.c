/* SPDX-License-Identifier: MIT */
#include "vector.h"

#include <sys/stat.h>
#include <unistd.h>

/* The path of a file in a folder if it is there; owned by the caller. */
static char *path_in(const char *folder, const char *name)
{
    char *path = NULL;

    CHECK(asprintf(&path, "%s/%s", folder, name) > 0);
    if (access(path, R_OK) != 0) {
        free(path);
        path = NULL;
    }
    return path;
}

json_t *vector_load(const char *name)
{
    const char *named = getenv("ETCP_VECTORS");
    struct stat st;
    json_error_t error;
    json_t *root;
    char *path;

    if (named != NULL && *named != '\0') {
        if (stat(named, &st) != 0 || !S_ISDIR(st.st_mode)) {
            (void)fprintf(stderr, "ETCP_VECTORS: %s is no folder\n", named);
            exit(1);
        }
        path = path_in(named, name);
    } else {
        path = path_in(VECTORS_SHARED, name);
    }
    if (path == NULL) {
        path = path_in(VECTORS_OWN, name);
        if (path != NULL) {
            (void)printf("%s: not in the shared folder, reading the copy in tests/vectors\n", name);
        }
    }
    if (path == NULL) {
        (void)printf("skipped: %s is neither in %s nor in tests/vectors\n", name,
                     named != NULL && *named != '\0' ? named : "../shared/vectors");
        exit(CHECK_SKIPPED);
    }
    /* One number in the transcripts is above 2^63; none of those that are looked at is above 2^53. */
    root = json_load_file(path, JSON_DECODE_INT_AS_REAL, &error);
    if (root == NULL) {
        (void)fprintf(stderr, "%s:%d: %s\n", path, error.line, error.text);
        exit(1);
    }
    free(path);
    return root;
}

static json_t *member(const json_t *object, const char *name)
{
    json_t *value = json_object_get(object, name);

    if (value == NULL) {
        (void)fprintf(stderr, "the vectors have no member \"%s\" where there should be one\n", name);
        exit(1);
    }
    return value;
}

json_t *vector_array(const json_t *object, const char *name)
{
    json_t *value = member(object, name);

    CHECK(json_is_array(value));
    CHECK(json_array_size(value) > 0);
    return value;
}

const char *vector_text(const json_t *object, const char *name)
{
    json_t *value = member(object, name);

    CHECK(json_is_string(value));
    return json_string_value(value);
}

long long vector_number(const json_t *object, const char *name)
{
    json_t *value = member(object, name);

    CHECK(json_is_number(value));
    return (long long)json_number_value(value);
}

int vector_has(const json_t *object, const char *name)
{
    const json_t *value = json_object_get(object, name);

    return value != NULL && !json_is_null(value);
}

static unsigned digit(char c)
{
    CHECK((c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'));
    return (unsigned)(c <= '9' ? c - '0' : c - 'a' + 10);
}

struct vector_bytes vector_hex(const json_t *object, const char *name)
{
    struct vector_bytes bytes = {0};
    const char *text;

    if (!vector_has(object, name)) {
        return bytes;
    }
    text = vector_text(object, name);
    CHECK(strlen(text) % 2 == 0);
    bytes.len = strlen(text) / 2;
    bytes.data = malloc(bytes.len > 0 ? bytes.len : 1);
    CHECK(bytes.data != NULL);
    for (size_t i = 0; i < bytes.len; i++) {
        bytes.data[i] = (uint8_t)(digit(text[2 * i]) << 4 | digit(text[2 * i + 1]));
    }
    return bytes;
}

void vector_fixed(const json_t *object, const char *name, uint8_t *ret, size_t len)
{
    struct vector_bytes bytes = vector_hex(object, name);

    CHECK_INT(bytes.len, len);
    memcpy(ret, bytes.data, len);
    free(bytes.data);
}

json_t *vector_named(const json_t *array, const char *name)
{
    size_t i;
    json_t *element;

    json_array_foreach(array, i, element)
    {
        if (strcmp(vector_text(element, "name"), name) == 0) {
            return element;
        }
    }
    (void)fprintf(stderr, "the vectors have nothing named \"%s\"\n", name);
    exit(1);
}
