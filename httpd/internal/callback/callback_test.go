package callback_test

import (
	"runtime"
	"slices"
	"testing"

	"github.com/evmq/evmq/httpd/internal/callback"
)

func TestEachElementIsPassedAlthoughTheFunctionPanicsOrExits(t *testing.T) {
	for name, fn := range map[string]func(n int){
		"returns":      func(int) {},
		"panics":       func(int) { panic("of the test") },
		"exits":        func(int) { runtime.Goexit() },
		"panics first": func(n int) { panicIf(n == 1) },
		"panics last":  func(n int) { panicIf(n == 3) },
	} {
		t.Run(name, func(t *testing.T) {
			var passed []int
			returned, recovered := false, any(nil)
			done := make(chan struct{})
			go func() {
				defer close(done)
				defer func() { recovered = recover() }()
				callback.Each([]int{1, 2, 3}, func(n int) { passed = append(passed, n); fn(n) })
				returned = true
			}()
			<-done
			if want := []int{1, 2, 3}; !slices.Equal(passed, want) {
				t.Errorf("passed %v, want %v", passed, want)
			}
			if returned != (name == "returns") {
				t.Errorf("Each has returned: %v", returned)
			}
			if isPanic := name != "returns" && name != "exits"; (recovered != nil) != isPanic {
				t.Errorf("the panic is %v", recovered)
			}
		})
	}
}

func panicIf(is bool) {
	if is {
		panic("of the test")
	}
}
