// Queue shows how goroutines pass messages to a loop. Four goroutines send 10000 numbers each through a queue with room for 64 messages,
// and the loop checks that the numbers of each goroutine arrive in order. Data that only the loop uses needs no lock.
//
//	go run ./examples/queue
package main

import (
	"context"
	"fmt"
	"log"
	"sync"

	"github.com/evmq/evmq/event"
	"github.com/evmq/evmq/msgqueue"
)

const producers, each = 4, 10000

type message struct{ from, number int }

func main() {
	loop := must(event.NewLoop(nil))

	var next [producers]int // only the loop uses it
	queue := must(msgqueue.New(loop, func(m message) {
		if m.number != next[m.from] {
			log.Fatalf("producer %d: message %d in place of %d", m.from, m.number, next[m.from])
		}
		next[m.from]++
	}, &msgqueue.Config{Bound: 64}))

	var wg sync.WaitGroup
	for p := range producers {
		wg.Go(func() {
			for n := range each {
				// Push would return msgqueue.ErrFull while 64 messages wait. PushContext waits until there is room.
				check(queue.PushContext(context.Background(), message{p, n}))
			}
		})
	}
	left := make(chan []message, 1)
	go func() {
		wg.Wait()
		left <- must(queue.Shutdown(context.Background())) // refuses new messages and delivers the rest
	}()

	check(loop.Run(context.Background())) // Run does not return while the queue is open
	fmt.Println("in order:", next, "longest:", queue.Stats().MaxLen, "left:", len(<-left))
	check(loop.Close())
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}

func must[T any](v T, err error) T { check(err); return v }
