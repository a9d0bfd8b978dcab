// Timer shows the four uses of time on a loop: a one-shot timer, a cancelled timer, an idle timeout and a ticker. It ends
// within a second.
//
//	go run ./examples/timer
package main

import (
	"context"
	"fmt"
	"log"
	"time"

	"github.com/evmq/evmq/event"
)

func main() {
	loop := must(event.NewLoop(nil))

	// One call, after 10 ms.
	must(loop.AfterFunc(10*time.Millisecond, func() { fmt.Println("once") }))

	// The function of a timer that is cancelled is not called.
	cancelled := must(loop.AfterFunc(20*time.Millisecond, func() { fmt.Println("cancelled: not printed") }))
	check(cancelled.Del())

	// An idle timeout: each Add starts it again, so the callback is called when there was no Add for 200 ms.
	idle := must(loop.NewTimer(func(*event.Event, event.Flags) { fmt.Println("idle") }))

	// A ticker: each tick is due one interval after the previous one was due, so delays do not accumulate.
	ticks := 0
	ticker := must(loop.NewTicker(func(ticker *event.Event, _ event.Flags) {
		ticks++
		fmt.Println("tick", ticks)
		check(idle.Add(200 * time.Millisecond))
		if ticks == 5 {
			check(ticker.Del())
		}
	}))
	check(ticker.Add(50 * time.Millisecond))

	check(loop.Run(context.Background())) // returns when no event is left
	fmt.Println("done")
	check(loop.Close())
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}

func must[T any](v T, err error) T { check(err); return v }
