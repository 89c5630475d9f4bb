// Compares what `herder job inspect` prints with what Nomad's own parser reads. README.md says what that is good for.
package main

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"reflect"
	"sort"
	"strings"
)

// What Nomad's servers set and a file cannot say.
var ofServers = map[string]bool{
	"ConsulNamespace": true, "CreateIndex": true, "DispatchIdempotencyToken": true, "Dispatched": true,
	"JobModifyIndex": true, "ModifyIndex": true, "NomadTokenID": true, "ParentID": true, "Payload": true,
	"Stable": true, "Status": true, "StatusDescription": true, "Stop": true, "SubmitTime": true,
	"VaultNamespace": true, "Version": true, "VersionTag": true,
}

// Differences that are meant: the api package stops before the servers' own defaults, which Herder's form has.
func meant(path string, theirs, ours any) bool {
	last := path[strings.LastIndex(path, ".")+1:]
	inCheck := strings.Contains(path, ".Checks[")
	switch {
	case path == ".Datacenters" || path == ".NodePool" || path == ".ParameterizedJob.Payload":
		return isEmpty(theirs)
	case last == "TaskName", inCheck && last == "Name":
		return isEmpty(theirs)
	case last == "Disabled":
		return theirs == false && ours == true
	case last == "ReschedulePolicy":
		// Nomad keeps one that has no effect.
		return ours == nil
	case last == "Name" && strings.Contains(path, ".Services["):
		return strings.Contains(fmt.Sprint(theirs), "${")
	}
	return false
}

func isEmpty(v any) bool {
	switch v := v.(type) {
	case nil:
		return true
	case string:
		return v == ""
	case []any:
		return len(v) == 0
	case map[string]any:
		for _, inner := range v {
			if !isEmpty(inner) {
				return false
			}
		}
		return true
	}
	return false
}

func compare(path string, theirs, ours any, found *[]string) {
	if isEmpty(theirs) && isEmpty(ours) {
		return
	}
	a, isMap := theirs.(map[string]any)
	b, alsoMap := ours.(map[string]any)
	if isMap && alsoMap {
		names := map[string]bool{}
		for n := range a {
			names[n] = true
		}
		for n := range b {
			names[n] = true
		}
		sorted := []string{}
		for n := range names {
			if path != "" || !ofServers[n] {
				sorted = append(sorted, n)
			}
		}
		sort.Strings(sorted)
		for _, n := range sorted {
			compare(path+"."+n, a[n], b[n], found)
		}
		return
	}
	x, isList := theirs.([]any)
	y, alsoList := ours.([]any)
	if isList && alsoList && len(x) == len(y) {
		for i := range x {
			compare(fmt.Sprintf("%s[%d]", path, i), x[i], y[i], found)
		}
		return
	}
	if !reflect.DeepEqual(theirs, ours) && !meant(path, theirs, ours) {
		*found = append(*found, fmt.Sprintf("%s: Nomad %s, Herder %s", path, short(theirs), short(ours)))
	}
}

func short(v any) string {
	b, _ := json.Marshal(v)
	if len(b) > 120 {
		return string(b[:120]) + "…"
	}
	return string(b)
}

func inspect(herder, path string, variables []string) (any, string) {
	args := []string{"job", "inspect"}
	for _, name := range variables {
		args = append(args, "-var", name+"=1")
	}
	var words strings.Builder
	command := exec.Command(herder, append(args, path)...)
	command.Stderr = &words
	out, err := command.Output()
	if err != nil {
		return nil, words.String()
	}
	var document struct{ Job any }
	if err := json.Unmarshal(out, &document); err != nil {
		return nil, err.Error()
	}
	return document.Job, ""
}

func main() {
	if len(os.Args) < 3 {
		fmt.Fprintln(os.Stderr, "usage: nomad_reading HERDER FILE…")
		os.Exit(2)
	}
	equal, refused, failed := 0, 0, 0
	for _, path := range os.Args[2:] {
		text, err := os.ReadFile(path)
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(2)
		}
		job, variables, err := read(path, text)
		ours, said := inspect(os.Args[1], path, variables)
		switch {
		case job == nil && ours == nil:
			refused++
		case job == nil:
			failed++
			fmt.Printf("%s: only Nomad's reading refuses it: %s\n", path, err)
		case ours == nil:
			// Nomad's servers refuse more than its api package does, so that this alone is no difference.
			refused++
			fmt.Printf("%s: only Herder refuses it: %s\n", path, strings.SplitN(said, "\n", 2)[0])
		default:
			encoded, _ := json.Marshal(job)
			var theirs any
			_ = json.Unmarshal(encoded, &theirs)
			var found []string
			compare("", theirs, ours, &found)
			if len(found) == 0 {
				equal++
				continue
			}
			failed++
			fmt.Printf("%s\n  %s\n", path, strings.Join(found, "\n  "))
		}
	}
	fmt.Printf("%d files read alike, %d refused, %d read otherwise\n", equal, refused, failed)
	if failed > 0 {
		os.Exit(1)
	}
}
