// Writes one job in which every field of Nomad's API types is set, as JSON: `go run . > full.json` in a folder whose
// go.mod requires github.com/hashicorp/nomad/api. It is what the table of classes is checked against.
package main

import (
	"encoding/json"
	"os"
	"reflect"

	"github.com/hashicorp/nomad/api"
)

// Go through the types; number counts up so that no two numbers are alike.
var number int64

func fill(v reflect.Value, name string, seen map[reflect.Type]bool) {
	switch v.Kind() {
	case reflect.Pointer:
		if seen[v.Type().Elem()] {
			return
		}
		v.Set(reflect.New(v.Type().Elem()))
		fill(v.Elem(), name, seen)
	case reflect.Struct:
		seen[v.Type()] = true
		for i := 0; i < v.NumField(); i++ {
			if v.Type().Field(i).IsExported() && v.Type().Field(i).Tag.Get("json") != "-" {
				fill(v.Field(i), v.Type().Field(i).Name, seen)
			}
		}
		delete(seen, v.Type())
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 1, 1))
		fill(v.Index(0), name, seen)
	case reflect.Map:
		v.Set(reflect.MakeMap(v.Type()))
		e := reflect.New(v.Type().Elem()).Elem()
		fill(e, name, seen)
		v.SetMapIndex(reflect.ValueOf("key"), e)
	case reflect.Interface:
		v.Set(reflect.ValueOf("x-" + name))
	case reflect.String:
		v.SetString("x-" + name)
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		number++
		v.SetInt(number%90 + 1)
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		number++
		v.SetUint(uint64(number%90 + 1))
	}
}

// What is one of a few words.
func words(v any) {
	switch v := v.(type) {
	case map[string]any:
		for key, inner := range v {
			switch key {
			case "HealthCheck":
				v[key] = "checks"
			case "DelayFunction":
				v[key] = "constant"
			case "OnUpdate":
				v[key] = "ignore"
			case "Hook":
				v[key] = "prestart"
			case "Reconcile":
				v[key] = "best_score"
			}
			words(inner)
		}
	case []any:
		for _, inner := range v {
			words(inner)
		}
	}
}

func main() {
	var job api.Job
	fill(reflect.ValueOf(&job).Elem(), "Job", map[reflect.Type]bool{})
	data, _ := json.Marshal(job)
	var tree map[string]any
	_ = json.Unmarshal(data, &tree)
	words(tree)
	tree["Type"] = "service"
	for _, key := range []string{"Stop", "ParentID", "Dispatched", "DispatchIdempotencyToken", "Payload",
		"ConsulNamespace", "VaultNamespace", "NomadTokenID", "Status", "StatusDescription", "Stable", "Version",
		"SubmitTime", "CreateIndex", "ModifyIndex", "JobModifyIndex", "VersionTag"} {
		delete(tree, key)
	}
	group := tree["TaskGroups"].([]any)[0].(map[string]any)
	task := group["Tasks"].([]any)[0].(map[string]any)
	group["RestartPolicy"].(map[string]any)["Mode"] = "fail"
	task["RestartPolicy"].(map[string]any)["Mode"] = "fail"
	for _, services := range []any{group["Services"], task["Services"]} {
		service := services.([]any)[0].(map[string]any)
		service["Checks"].([]any)[0].(map[string]any)["Type"] = "http"
	}
	out := json.NewEncoder(os.Stdout)
	out.SetIndent("", " ")
	_ = out.Encode(tree)
}
