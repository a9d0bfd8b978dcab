package difftest_test

import (
	"bufio"
	"fmt"
	"math/rand/v2"
	"net"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"

	"github.com/evmq/evmq/internal/testkit"
)

// request is a request of a client.
type request struct {
	command string // gets, set, add, cas, incr or delete
	key     string
	value   string
	token   uint64 // of cas
}

// answer is the answer to a request.
type answer struct {
	word  string // STORED and its like, or VALUE and NUMBER
	value string // of gets and incr
	token uint64 // of gets
}

// item is the state of a key. Its unique number is known only if a gets has returned it.
type item struct {
	there bool
	value string
	token uint64 // 0: no client has seen it
	last  uint64 // the greatest one that a client has seen of this key's
}

// model is the sequential specification of the cache.
var model = porcupine.Model{
	Partition: func(history []porcupine.Operation) [][]porcupine.Operation {
		keys := map[string][]porcupine.Operation{}
		for _, op := range history {
			key := op.Input.(request).key
			keys[key] = append(keys[key], op)
		}
		var parts [][]porcupine.Operation
		for _, part := range keys {
			parts = append(parts, part)
		}
		return parts
	},
	Init: func() any { return item{} },
	Step: func(state, input, output any) (bool, any) {
		return step(state.(item), input.(request), output.(answer))
	},
	DescribeOperation: func(input, output any) string { return fmt.Sprintf("%v -> %v", input, output) },
}

// step reports whether an answer is correct in a state, and returns the next state.
func step(is item, r request, a answer) (bool, item) {
	next := item{there: true, value: r.value, last: is.last}
	switch r.command {
	case "gets":
		if a.word == "END" {
			return !is.there, is
		}
		// The numbers rise: this is a new one, or the one that was seen.
		ok := is.there && a.value == is.value && (is.token == 0 && a.token > is.last || is.token == a.token)
		return ok, item{true, a.value, a.token, a.token}
	case "set":
		return a.word == "STORED", next
	case "add":
		if is.there {
			return a.word == "NOT_STORED", is
		}
		return a.word == "STORED", next
	case "cas":
		switch {
		case !is.there:
			return a.word == "NOT_FOUND", is
		case is.token != r.token: // a client that has the token has received it, so the state would have it, too
			return a.word == "EXISTS", is
		}
		return a.word == "STORED", next
	case "incr":
		if !is.there {
			return a.word == "NOT_FOUND", is
		}
		n, _ := strconv.ParseUint(is.value, 10, 64) // all values are numbers
		next.value = strconv.FormatUint(n+1, 10)
		return a.word == "NUMBER" && a.value == next.value, next
	case "delete":
		if is.there {
			return a.word == "DELETED", item{last: is.last}
		}
		return a.word == "NOT_FOUND", is
	}
	return false, is
}

// TestConcurrentClientsAreLinearizable runs clients that use a few keys concurrently, and checks that all answers are consistent with one order of
// the operations. EVMQ_OPERATIONS is the number of operations of each client.
func TestConcurrentClientsAreLinearizable(t *testing.T) {
	t.Parallel()
	eachServer(t, func(t *testing.T, d *daemon) {
		seed := number(t, "EVMQ_SEED", rand.Uint64()>>32)
		t.Logf("EVMQ_SEED=%d", seed)
		check(t, fight(t, d, seed, 8, int(number(t, "EVMQ_OPERATIONS", 300))))
	})
}

// check fails the test unless the history is linearizable.
func check(t *testing.T, history []porcupine.Operation) {
	t.Helper()
	if result := porcupine.CheckOperationsTimeout(model, history, time.Minute); result != porcupine.Ok {
		t.Errorf("%d operations: %v", len(history), result)
	}
}

// fight runs clients that execute random operations on the same keys concurrently, and returns the requests and answers.
func fight(t *testing.T, d *daemon, seed uint64, clients, operations int) []porcupine.Operation {
	t.Helper()
	histories := make([][]porcupine.Operation, clients)
	errs := make([]error, clients)
	began := time.Now()
	var all sync.WaitGroup
	for id := range clients {
		all.Go(func() {
			histories[id], errs[id] = fighter(d, id, rand.New(rand.NewPCG(seed, uint64(id))), operations, began)
		})
	}
	all.Wait()
	var history []porcupine.Operation
	for id := range clients {
		testkit.Must(t, errs[id])
		history = append(history, histories[id]...)
	}
	return history
}

// fighter is one of the clients.
func fighter(d *daemon, id int, r *rand.Rand, operations int, began time.Time) (history []porcupine.Operation, err error) {
	nc, err := net.Dial("tcp", d.addr)
	if err != nil {
		return nil, err
	}
	defer nc.Close()
	if err := nc.SetDeadline(time.Now().Add(time.Minute)); err != nil {
		return nil, err
	}
	in := bufio.NewReader(nc)
	tokens := map[string]uint64{} // the last that it has seen
	commands := []string{"gets", "gets", "set", "add", "cas", "cas", "delete"}
	if d.name != "memcached" { // in 1.6.18 a gets beside an incr may have the old value with the new number
		commands = append(commands, "incr", "incr")
	}
	for range operations {
		q := request{
			command: commands[r.IntN(len(commands))], key: fmt.Sprint("key", r.IntN(3)), value: strconv.Itoa(r.IntN(1000)),
		}
		if q.command == "cas" {
			q.token = tokens[q.key]
			if q.token == 0 {
				continue
			}
		}
		called := time.Since(began)
		a, err := ask(nc, in, q)
		if err != nil {
			return nil, fmt.Errorf("%v: %w", q, err)
		}
		history = append(history, porcupine.Operation{
			ClientId: id, Input: q, Call: int64(called), Output: a, Return: int64(time.Since(began)),
		})
		if a.token != 0 {
			tokens[q.key] = a.token
		}
	}
	return history, nil
}

// ask sends a request and reads the answer.
func ask(nc net.Conn, in *bufio.Reader, q request) (a answer, err error) {
	var line string
	switch q.command {
	case "gets", "delete":
		line = fmt.Sprintf("%s %s\r\n", q.command, q.key)
	case "incr":
		line = fmt.Sprintf("incr %s 1\r\n", q.key)
	case "cas":
		line = fmt.Sprintf("cas %s 0 0 %d %d\r\n%s\r\n", q.key, len(q.value), q.token, q.value)
	default:
		line = fmt.Sprintf("%s %s 0 0 %d\r\n%s\r\n", q.command, q.key, len(q.value), q.value)
	}
	if _, err = nc.Write([]byte(line)); err != nil {
		return a, err
	}
	read := func() string {
		var text string
		if err == nil {
			text, err = in.ReadString('\n')
		}
		return strings.TrimSuffix(text, "\r\n")
	}
	a.word = read()
	if q.command == "incr" && a.word != "NOT_FOUND" {
		return answer{word: "NUMBER", value: a.word}, err
	}
	if words := strings.Fields(a.word); len(words) == 5 && words[0] == "VALUE" {
		a = answer{word: "VALUE", value: read()}
		read() // END
		if err == nil {
			a.token, err = strconv.ParseUint(words[4], 10, 64)
		}
	}
	return a, err
}

// TestTheCheckerRejectsWrongHistories, which no order explains.
func TestTheCheckerRejectsWrongHistories(t *testing.T) {
	// Each runs by itself, from 2i to 2i+1, unless it is together: then all run from 0 to 99.
	op := func(command, value string, token uint64, word, got string, gotToken uint64) porcupine.Operation {
		return porcupine.Operation{Input: request{command, "k", value, token}, Output: answer{word, got, gotToken}}
	}
	set := op("set", "1", 0, "STORED", "", 0)
	tests := []struct {
		name     string
		together bool
		legal    bool
		history  []porcupine.Operation
	}{
		{"nothing wrong", false, true, []porcupine.Operation{set, op("gets", "", 0, "VALUE", "1", 7), op("cas", "2", 7, "STORED", "", 0), op("incr", "", 0, "NUMBER", "3", 0), op("delete", "", 0, "DELETED", "", 0), op("gets", "", 0, "END", "", 0)}},
		{"an old value", false, false, []porcupine.Operation{set, op("set", "2", 0, "STORED", "", 0), op("gets", "", 0, "VALUE", "1", 7)}},
		{"a value that was not stored", true, false, []porcupine.Operation{set, op("gets", "", 0, "VALUE", "2", 7)}},
		{"an increment lost", true, false, []porcupine.Operation{op("set", "0", 0, "STORED", "", 0), op("incr", "", 0, "NUMBER", "1", 0), op("incr", "", 0, "NUMBER", "1", 0)}},
		{"two win by one token", false, false, []porcupine.Operation{set, op("gets", "", 0, "VALUE", "1", 7), op("cas", "2", 7, "STORED", "", 0), op("cas", "3", 7, "STORED", "", 0)}},
		{"the number stays when the value changes", false, false, []porcupine.Operation{set, op("gets", "", 0, "VALUE", "1", 7), op("set", "2", 0, "STORED", "", 0), op("gets", "", 0, "VALUE", "2", 7)}},
		{"a token from before it was deleted", false, false, []porcupine.Operation{set, op("gets", "", 0, "VALUE", "1", 7), op("delete", "", 0, "DELETED", "", 0), set, op("cas", "3", 7, "STORED", "", 0)}},
		{"two add", true, false, []porcupine.Operation{op("add", "1", 0, "STORED", "", 0), op("add", "2", 0, "STORED", "", 0)}},
		{"two delete", true, false, []porcupine.Operation{op("add", "1", 0, "STORED", "", 0), op("delete", "", 0, "DELETED", "", 0), op("delete", "", 0, "DELETED", "", 0)}},
		{"together it may be", true, true, []porcupine.Operation{op("gets", "", 0, "VALUE", "1", 7), set}},
		{"not there", false, false, []porcupine.Operation{set, op("gets", "", 0, "END", "", 0)}},
	}
	for _, test := range tests {
		t.Run(strings.ReplaceAll(test.name, " ", "-"), func(t *testing.T) {
			for i := range test.history {
				test.history[i].Call, test.history[i].Return = int64(2*i), int64(2*i+1)
				if test.together {
					test.history[i].Call, test.history[i].Return = 0, 99
				}
			}
			equal(t, porcupine.CheckOperations(model, test.history), test.legal)
		})
	}
}
