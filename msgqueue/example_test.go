package msgqueue_test

import (
	"context"
	"fmt"

	"github.com/evmq/evmq/event"
	"github.com/evmq/evmq/msgqueue"
)

// A worker computes and hands its answers to the loop, which alone uses the map.
func Example() {
	loop, err := event.NewLoop(nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer loop.Close()

	type answer struct{ n, square int }
	squares := map[int]int{} // the loop's: no lock
	var answers *msgqueue.Queue[answer]
	answers, err = msgqueue.New(loop, func(a answer) {
		squares[a.n] = a.square
		if len(squares) == 100 {
			answers.Close() // and Run has nothing more to wait for
		}
	}, &msgqueue.Config{Bound: 16})
	if err != nil {
		fmt.Println(err)
		return
	}
	go func() {
		for n := range 100 {
			if err := answers.PushContext(context.Background(), answer{n, n * n}); err != nil {
				fmt.Println(err) // ErrClosed: the queue was closed
				return
			}
		}
	}()
	if err := loop.Run(context.Background()); err != nil {
		fmt.Println(err)
	}
	fmt.Println(squares[12])
	// Output: 144
}

// Push never waits. A caller that must not lose a message uses a larger bound, waits with PushContext, or keeps the message.
func ExampleQueue_Push() {
	loop, err := event.NewLoop(nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer loop.Close()
	q, err := msgqueue.New(loop, func(s string) { fmt.Println("delivered", s) }, &msgqueue.Config{Bound: 2})
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, s := range []string{"one", "two", "three"} {
		if err := q.Push(s); err != nil {
			fmt.Println(err)
		}
	}
	if err := loop.RunNonblock(); err != nil {
		fmt.Println(err)
	}
	fmt.Println(q.Push("four"))
	fmt.Println("returned", q.Close())
	// Output:
	// msgqueue: queue is full
	// delivered one
	// delivered two
	// <nil>
	// returned [four]
}

// Shutdown delivers what was accepted before it closes the queue.
func ExampleQueue_Shutdown() {
	loop, err := event.NewLoop(nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer loop.Close()
	q, err := msgqueue.New(loop, func(n int) { fmt.Println(n) }, nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	if err := q.PushBatch([]int{1, 2, 3}); err != nil {
		fmt.Println(err)
	}
	ended := make(chan error)
	go func() { ended <- loop.Run(context.Background()) }()
	left, err := q.Shutdown(context.Background())
	fmt.Println(left, err)
	fmt.Println(<-ended)
	// Output:
	// 1
	// 2
	// 3
	// [] <nil>
	// <nil>
}
