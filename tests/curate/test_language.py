"""Mixed language: scripts, languages in Latin letters, names and mathematics, on small cases and in R1's own traces."""

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

from distill.curate import language, quality
from distill.curate.language import mixed
from distill.curate_sections import Quality
from distill.records import Trace

_spec = importlib.util.spec_from_file_location("curate_real", Path(__file__).with_name("real.py"))
assert _spec is not None and _spec.loader is not None
real = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(real)

SHARE = Quality().foreign or 0.0
ENGLISH = (
    "First we need to find how many apples each of the children has. The problem says that Ben has three more than "
    "Ada, "
    "and that they have eleven in all, so let me write an equation for this. If Ada has x, then Ben has x + 3, and the "
    "sum of both is 2x + 3 = 11. We subtract three from both sides and get 2x = 8, which means that x is four. So Ada "
    "has four apples and Ben has seven. Let me check this again: four and seven is eleven, and seven is four plus "
    "three."
)
ASKED = (
    "Ben has three more apples than Ada, and together they have eleven. How many apples does each of the children have?"
)
FOREIGN = {
    "German": "Um die Aufgabe zu lösen, müssen wir zuerst herausfinden, wie viele Äpfel jedes Kind bekommt, und danach "
    "die Summe durch die Anzahl der Tage teilen, denn so steht es oben.",
    "French": "Pour résoudre ce problème, il faut d'abord calculer le nombre total de pommes que chaque enfant reçoit, "
    "puis diviser la somme par le nombre de jours.",
    "Spanish": "Para resolver este problema primero hay que calcular cuántas manzanas recibe cada niño y después "
    "dividir "
    "la suma entre el número de días.",
    "Italian": "Per risolvere questo problema bisogna prima calcolare quante mele riceve ogni bambino e poi "
    "dividere la "
    "somma per il numero dei giorni.",
    "Portuguese": "Para resolver este problema primeiro temos de calcular quantas maçãs cada criança recebe e depois "
    "dividir a soma pelo número de dias.",
    "Dutch": "Om dit probleem op te lossen moeten we eerst uitrekenen hoeveel appels elk kind krijgt en daarna de som "
    "door het aantal dagen delen.",
    "Polish": "Aby rozwiązać to zadanie, musimy najpierw obliczyć, ile jabłek dostaje każde dziecko, a potem podzielić "
    "sumę przez liczbę dni, bo tak mówi treść.",
    "Turkish": "Bu problemi çözmek için önce her çocuğun kaç elma aldığını hesaplamalı, sonra da toplamı gün sayısına "
    "bölmeliyiz, çünkü soruda böyle yazıyor.",
    "Vietnamese": "Để giải bài toán này trước hết chúng ta phải tính xem mỗi em nhận được bao nhiêu quả táo rồi "
    "chia tổng "
    "cho số ngày.",
    "Indonesian or Malay": "Untuk menyelesaikan soal ini kita harus menghitung dulu berapa banyak apel yang diterima "
    "setiap anak lalu membagi jumlahnya dengan banyaknya hari.",
    "Scandinavian": "För att lösa uppgiften måste vi först räkna ut hur många äpplen varje barn får och sedan dela "
    "summan "
    "med antalet dagar som står ovan.",
    "Czech or Slovak": "Abychom úlohu vyřešili, musíme nejprve spočítat, kolik jablek dostane každé dítě, a potom "
    "součet "
    "vydělit počtem dní podle zadání úlohy.",
    "Romanian": "Pentru a rezolva problema trebuie mai întâi să calculăm câte mere primește fiecare copil și apoi să "
    "împărțim suma la numărul de zile.",
}
LETTERS = {
    "Chinese": "所以我们需要先计算每个孩子有多少苹果。",
    "a few Chinese words": "因此，我们得到",
    "Japanese": "まず、子供が何個のりんごを持っているかを計算します。",
    "Korean": "먼저 아이들이 사과를 몇 개 가지고 있는지 계산해야 합니다.",
    "Russian": "Сначала нужно посчитать, сколько яблок получает каждый ребёнок.",
    "Arabic": "أولا يجب أن نحسب عدد التفاحات لكل طفل",
    "Hindi": "पहले हमें यह गिनना होगा कि हर बच्चे के पास कितने सेब हैं",
    "Hebrew": "קודם צריך לחשב כמה תפוחים יש לכל ילד",
    "Thai": "ก่อนอื่นเราต้องคำนวณว่าเด็กแต่ละคนมีแอปเปิลกี่ลูก",
}


def planted(text: str) -> str:
    return f"{ENGLISH}\n\n{text}\n\n{ENGLISH}"


@pytest.mark.parametrize("name", FOREIGN)
def test_a_paragraph_in_another_language_is_found(name: str) -> None:
    assert len(FOREIGN[name].split()) >= 19
    assert f"words of {name} in a text that is in English" in str(mixed(ASKED, planted(FOREIGN[name]), SHARE))
    assert mixed(ASKED, f"{ENGLISH} {FOREIGN[name]} {ENGLISH}", SHARE)


@pytest.mark.parametrize("name", LETTERS)
def test_words_in_another_script_are_found(name: str) -> None:
    assert mixed(ASKED, planted(LETTERS[name]), SHARE)
    assert mixed(ASKED, f"{ENGLISH} {LETTERS[name]} {ENGLISH}", SHARE)


@pytest.mark.parametrize("name", FOREIGN)
def test_a_trace_in_one_language_is_not_mixed_and_its_english_paragraph_is(name: str) -> None:
    text = "\n\n".join([FOREIGN[name]] * 8)
    assert mixed(FOREIGN[name], text, SHARE) is None
    assert "words of English" in str(mixed(FOREIGN[name], f"{text}\n\n{ENGLISH}", SHARE))


@pytest.mark.parametrize("name", ["Chinese", "Japanese", "Korean", "Russian", "Arabic", "Hindi", "Thai"])
def test_a_trace_in_one_script_is_not_mixed(name: str) -> None:
    text = f"{LETTERS[name]} $\\frac{{a}}{{b}} = \\sin x$, x = 5 cm. \n" * 20
    assert mixed(LETTERS[name] * 4, text, SHARE) is None
    assert mixed(LETTERS[name] * 4, text + ENGLISH, SHARE)


def test_a_problem_in_one_language_and_its_reasoning_in_another() -> None:
    for name in ("German", "French", "Spanish", "Italian", "Portuguese"):
        assert mixed(FOREIGN[name], ENGLISH, SHARE) == f"the problem is in {name}, and most of the text in English"
        assert mixed(ASKED, FOREIGN[name] * 3, SHARE) == f"the problem is in English, and most of the text in {name}"
    assert "the problem is in Chinese" in str(mixed(LETTERS["Chinese"] * 3, ENGLISH, SHARE))
    assert mixed("¿2 + 2 = ?", ENGLISH, SHARE) is None


@pytest.mark.parametrize(
    "text",
    [
        "The angle α is \\(\\frac{\\pi}{2}\\), where Δx ≈ 3·10⁵ and θ ≤ φ; ∑ aᵢ → ∞, so x ∈ ℝ, 𝑥² + 𝑦² = 𝑟².",
        'In Russian, "в два раза больше" means twice as much, and so the number is two times as large.',
        "Xiao Ming (小明) has three apples, and 李华 has five of them.",
        "The theorem is by Чебышёв and Ляпунов, as we know, and the one of Пифагор is older.",
        "Сhе letter Ж and the letter א are signs, as are Я and ב.",
        "```\nfür jedes kind in der liste wird die summe der äpfel gebildet und dann durch die tage geteilt\n```",
        "apples bananas oranges lemons plus minus times pounds ounces gallons miles hours minutes seconds dollars "
        "cents",
        "So cos a cos b sin a sin b tan c log d max e min f lim g, dx dy dz dt, km mph kg cm mm ft lb oz.",
        "Anna → Bob → Cem → Dora → Eve → Finn → Gus → Hal → Ida → Jo → Kim → Lea → Max → Nia → Oda → Paul.",
        "Müller, Gauß, Poincaré, d'Alembert, Erdős, Łukasiewicz and Gödel are the names of the children in this "
        "problem.",
        "The café sold crème brûlée, a soufflé, and spaghetti alla puttanesca; per capita, vice versa, et cetera.",
    ],
)
def test_mathematics_names_and_quotations_are_of_no_language(text: str) -> None:
    assert mixed(ASKED, planted(text), SHARE) is None
    assert mixed(ASKED, text, SHARE) is None


def test_the_problems_own_words_are_not_strange() -> None:
    prompt = f"{ASKED} The boxes are marked 红色盒子 and 蓝色盒子."
    assert mixed(prompt, planted("The box 红色盒子 has two of them, and the box 蓝色盒子 has three."), SHARE) is None
    assert mixed(ASKED, planted("The box 红色盒子 has two of them, and the box 蓝色盒子 has three."), SHARE)


def test_the_share_is_of_all_words() -> None:
    text = planted(FOREIGN["German"])
    assert mixed(ASKED, text, 0.05) and mixed(ASKED, text, 0.5) is None
    assert mixed(ASKED, planted(LETTERS["Russian"]), 0.5) is None
    assert mixed("", "", SHARE) is None and mixed("", "12 + 5 = 17", SHARE) is None


def test_py3langid_is_loaded_when_it_is_needed_and_once() -> None:
    statement = (
        "import sys; from distill.curate.language import mixed; mixed('', sys.argv[1], 0.1);"
        "print('py3langid' in sys.modules); mixed('', sys.argv[2], 0.1); print('py3langid' in sys.modules)"
    )
    root = Path(__file__).resolve().parents[2]
    arguments = [sys.executable, "-c", statement, ENGLISH, FOREIGN["German"]]
    done = subprocess.run(arguments, capture_output=True, text=True, cwd=root, check=True)
    assert done.stdout.split() == ["False", "True"]
    assert language._identifier() is language._identifier()


def test_what_is_planted_in_r1s_traces_is_found(shared_data: Path) -> None:
    for name, text in {**FOREIGN, **LETTERS}.items():
        traces = [one for some in real.r1(shared_data).values() for one in some][::7]
        found = sum(quality.mixed_language(_planted(one, text), SHARE) is not None for one in traces)
        print(f"{name}: found in {found} of {len(traces)}")
        assert len(traces) > 100 and found >= 0.98 * len(traces)


def test_r1s_own_words_of_other_languages_are_quoted(shared_data: Path) -> None:
    traces = [one for some in real.r1(shared_data).values() for one in some]
    quoting = [one for one in traces if "раза" in one.completion.reasoning]
    found = [detail for one in traces if (detail := quality.mixed_language(one, SHARE))]
    print(f"R1: {len(found)} of {len(traces)} are mixed; {len(quoting)} quotes Russian")
    assert len(quoting) == 1 and not found


def test_a_distilled_model_mixes_chinese_in(shared_data: Path) -> None:
    found = [quality.mixed_language(one, SHARE) for one in real.traces(shared_data, "math_normal_Limo")]
    assert [at for at, detail in enumerate(found) if detail] == [14] and "Chinese" in str(found[14])


def _planted(one: Trace, text: str) -> Trace:
    parts = one.completion.reasoning.split("\n\n")
    parts.insert(len(parts) // 2, text)
    return real.with_reasoning(one, "\n\n".join(parts))
