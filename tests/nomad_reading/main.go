// Compares what `herder job inspect` prints with what Nomad's own parser reads. README.md says what that is good for.
package main

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"reflect"
	"regexp"
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
	case last == "MemoryMaxMB" || last == "SecretsMB":
		// Zero is none.
		return theirs == 0.0 && ours == nil
	case last == "CPU":
		// `cores = 0` makes Nomad forget its default, and then it refuses the job for having no CPU.
		return theirs == 0.0 && ours == 100.0
	case last == "Migrate":
		// Nomad keeps one that its servers then refuse.
		return ours == nil
	case strings.HasSuffix(path, "ReschedulePolicy.Unlimited"), strings.HasSuffix(path, "ReschedulePolicy.Attempts"):
		// Attempts without a word about `unlimited` are the limit; Nomad's servers refuse such files.
		return true
	}
	return inDriver(theirs, ours) || alikeButForIDs(theirs, ours)
}

// A map in a driver's settings is a list of that one map, wherever it comes from. Nomad says so only of maps that are
// written out in place.
func inDriver(theirs, ours any) bool {
	list, isList := ours.([]any)
	_, isMap := theirs.(map[string]any)
	if !isList || !isMap || len(list) != 1 {
		return false
	}
	var found []string
	compare(".Config", theirs, list[0], &found)
	return len(found) == 0
}

var uuid = regexp.MustCompile(`[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}`)

// Random IDs differ each time.
func alikeButForIDs(theirs, ours any) bool {
	a, isText := theirs.(string)
	b, alsoText := ours.(string)
	return isText && alsoText && uuid.ReplaceAllString(a, "") == uuid.ReplaceAllString(b, "")
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

// Whether Herder itself says that Nomad does not have what a file has.
func extends(herder, path string, variables []string) bool {
	args := []string{"validate", "--strict", "-v", "--format", "short"}
	for _, name := range variables {
		args = append(args, "-var", name+"=1")
	}
	out, _ := exec.Command(herder, append(args, path)...).CombinedOutput()
	return strings.Contains(string(out), "[extension]")
}

func main() {
	if len(os.Args) < 3 {
		fmt.Fprintln(os.Stderr, "usage: nomad_reading HERDER FILE…")
		os.Exit(2)
	}
	equal, extended, refused, failed := 0, 0, 0, 0
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
		case job == nil && extends(os.Args[1], path, variables):
			extended++
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
	fmt.Printf("%d files read alike, %d refused, %d with extensions of Herder's, %d read otherwise\n",
		equal, refused, extended, failed)
	if failed > 0 {
		os.Exit(1)
	}
}
