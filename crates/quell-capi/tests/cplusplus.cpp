// The header from C++: it compiles without a warning, links, and its objects fit into std::unique_ptr.

#include <quell.h>

#include <cstdio>
#include <cstring>
#include <memory>

namespace {

struct Free {
    void operator()(quell_event *event) const { quell_event_free(event); }
    void operator()(quell_thread *thread) const { quell_thread_free(thread); }
    void operator()(quell_reason *reason) const { quell_reason_release(reason); }
};

template <typename T>
using Owned = std::unique_ptr<T, Free>;

int failed = 0;

void check(bool good, const char *what, int line) {
    if (!good) {
        std::printf("%s:%d: not so: %s (%s)\n", __FILE__, line, what, quell_last_error());
        failed++;
    }
}
#define CHECK(condition) check((condition), #condition, __LINE__)

void *waits(void *event) {
    return quell_event_wait(static_cast<quell_event *>(event), QUELL_FOREVER) == QUELL_INTERRUPTED ? event : nullptr;
}

void interrupts_a_thread() {
    Owned<quell_event> event(quell_event_new());
    quell_spawn_options options = QUELL_SPAWN_OPTIONS;
    options.name = "waiter";
    Owned<quell_thread> thread(quell_spawn(waits, event.get(), &options));
    Owned<quell_reason> reason(quell_reason_new("enough", nullptr, nullptr));
    CHECK(quell_interrupt(quell_thread_get_id(thread.get()), reason.get(), nullptr) == QUELL_OK);
    void *result = nullptr;
    CHECK(quell_join(thread.get(), &result, quell_after(QUELL_SECONDS(100))) == QUELL_OK);
    CHECK(result == event.get());
    CHECK(std::strcmp(quell_strerror(QUELL_OK), "success") == 0);
}

} // namespace

int main() {
    interrupts_a_thread();
    std::printf("test interrupts_a_thread ... %s\n", failed ? "FAILED" : "ok");
    std::printf("test result: %s. %d passed; %d failed; 0 ignored\n", failed ? "FAILED" : "ok", !failed, failed > 0);
    return failed > 0;
}
