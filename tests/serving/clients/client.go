// Go's own client as it comes.
package main

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
)

func main() {
	for i := 0; i < 5; i++ {
		response, err := http.Post(os.Args[1], "application/json", strings.NewReader(os.Args[2]))
		if err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		body, err := io.ReadAll(response.Body)
		if err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		response.Body.Close()
		fmt.Println(response.StatusCode, string(body))
	}
}
